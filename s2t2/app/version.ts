/** The version of this package, and what is said where states are of another one. */
import { existsSync, readFileSync } from 'node:fs';
import type { StateStore } from '../../models/state.ts';

/** `package.json`, from the sources and from `dist` alike. */
const manifest = ['../../package.json', '../../../package.json']
  .map(path => new URL(path, import.meta.url))
  .find(url => existsSync(url))!;

/** The version of this package. */
export const packageVersion = (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;

const told = new Set<string>();

/** For the states of a run in `work`: they carry this version, and those of another are told once. */
export const ofThisVersion = (
  work: string,
  log: (line: string) => void,
): Required<Pick<StateStore, 'version' | 'onOtherVersion'>> => ({
  version: packageVersion,
  onOtherVersion(version) {
    const line =
      `${work}: holds states of version ${version}, and this is version ${packageVersion}; figures may differ from ` +
      'those of a run of one version';
    if (!told.has(line)) log(line);
    told.add(line);
  },
});

/** Domains to adapt to: texts in three splits, from the bundled files or from those that `s2t2 data NAME` has made. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readJson, UserError } from '../../models/files.ts';
import { readCorpus } from '../corpus.ts';
import { dataFolder } from './english.ts';

export interface DomainData {
  readonly name: string;
  /** What a text is counted in: residue, base, byte. */
  readonly unit: string;
  readonly train: string[];
  readonly validation: string[];
  readonly test: string[];
  readonly source: string;
  readonly licence: string;
}

interface Domain {
  readonly unit: string;
  readonly format: 'fasta' | 'jsonl';
  readonly licence: string;
}

export const domains: Readonly<Record<string, Domain>> = {
  proteins: { unit: 'residue', format: 'fasta', licence: 'CC BY 4.0, © The UniProt Consortium' },
};

/** The three splits of a domain, bundled or, where it is not, from `work`, where `s2t2 data NAME` put them. `full`: from `work` in any case. */
export async function loadDomain(name: string, { work, full = false }: { readonly work: string; readonly full?: boolean }): Promise<DomainData> {
  const domain = Object.hasOwn(domains, name) ? domains[name] : undefined;
  if (domain === undefined) throw new UserError(`${name}: no such domain; there are ${Object.keys(domains).join(', ')}`);
  const record = [dataFolder(`${name}.json`), join(work, `${name}.json`)].slice(full ? 1 : 0).find(existsSync);
  if (record === undefined) throw new UserError(`${work}: holds no ${name}.json; make it with npm run s2t2 -- data ${name} --out ${work}`);
  const { source } = await readJson(record) as { source: string };
  const read = async (split: string) => (await readCorpus(record.replace(/json$/, `${split}.${domain.format}.gz`))).documents.map(d => d.text);
  const [train, validation, test] = await Promise.all(['train', 'validation', 'test'].map(read));
  return { name, unit: domain.unit, train, validation, test, source, licence: domain.licence };
}

/** What the options of `adapt` leave open follows the source model. */
import { Command } from 'commander';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { settingsFrom, withSettings, type SettingsFlags } from '../../../s2t2/app/cli/settings.ts';
import { formOf, presets, ratedWidth } from '../../../s2t2/settings.ts';
import { tinyModel } from '../fixture.ts';

const widths = fc.integer({ min: 1, max: 10_000 });

test('wider models than the bundled one keep their rows, and nothing else of a preset changes', () => {
  fc.assert(
    fc.property(fc.constantFrom('default' as const, 'paper' as const), widths, (name, width) => {
      expect(formOf(name, { width })).toEqual(
        width <= ratedWidth ? presets[name] : { ...presets[name], spread: 'none' },
      );
    }),
  );
});

test('--spread overrides that, of any width', async () => {
  const { model, tokenizer } = await tinyModel();
  const settings = (width: number, ...options: string[]) => {
    const command = withSettings(new Command()).parse(options, { from: 'user' });
    return settingsFrom(command.opts<SettingsFlags>(), { config: { ...model.config, width }, tokenizer });
  };
  fc.assert(
    fc.property(fc.constantFrom('none' as const, 'isotropic' as const), widths, (spread, width) => {
      expect(settings(width, '--spread', spread)).toEqual({ ...settings(width), spread });
    }),
    { numRuns: 20 },
  );
  expect([ratedWidth, ratedWidth + 1].map(width => settings(width).spread)).toEqual(['isotropic', 'none']);
  expect(settings(8).alpha).toBe(1 / tokenizer.ordinaryIds().length);
});

/** Every domain's bundled sample is there, whole and apart; what is missing is told in one line. */
import { describe, expect, test } from 'vitest';
import { domains, loadDomain } from '../../s2t2/data/domains.ts';
import { temporaryDirectory } from '../models/temporary.ts';

const work = temporaryDirectory();

describe.each(Object.keys(domains))('%s', name => {
  test('is bundled, the same each time, and no text stands in two splits', async () => {
    const data = await loadDomain(name, { work });
    expect(await loadDomain(name, { work })).toEqual(data);
    const all = [...data.train, ...data.validation, ...data.test];
    expect(new Set(all).size).toBe(all.length);
    for (const split of ['train', 'validation', 'test'] as const) expect(data[split].length).toBeGreaterThan(0);
  });
});

test('a name that is no domain and files that are not made are told in one line', async () => {
  await expect(loadDomain('protein', { work })).rejects.toThrow(/^protein: no such domain; there are proteins/);
  await expect(loadDomain('toString', { work })).rejects.toThrow('no such domain');
  await expect(loadDomain('proteins', { work, full: true })).rejects.toThrow(`${work}: holds no proteins.json; make it with npm run s2t2 -- data proteins --out ${work}`);
});

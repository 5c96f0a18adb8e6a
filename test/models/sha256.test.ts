/** SHA-256, in JavaScript and by the host, against that of Node. */
import fc from 'fast-check';
import { createHash } from 'node:crypto';
import { afterEach, expect, test, vi } from 'vitest';
import { sha256, sha256Large } from '../../models/sha256.ts';

afterEach(() => void vi.unstubAllGlobals());

test("SHA-256 by either way is Node's, of bytes anywhere in their memory", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.nat(50), async (all, from) => {
      const bytes = Uint8Array.from(all).subarray(from);
      const expected = createHash('sha256').update(bytes).digest('hex');
      expect(sha256(bytes)).toBe(expected);
      expect(await sha256Large(bytes)).toBe(expected);
    }),
  );
});

test('without Web Cryptography it is the same', async () => {
  const bytes = Uint8Array.of(1, 2, 3);
  vi.stubGlobal('crypto', {});
  expect(await sha256Large(bytes)).toBe(sha256(bytes));
  vi.stubGlobal('crypto', undefined);
  expect(await sha256Large(bytes)).toBe(sha256(bytes));
});

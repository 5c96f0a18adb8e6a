/**
 * The machine's own Chromium, headless, with WebGPU and WebGL2 on the processor (SwiftShader) where there is no GPU.
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium, type Browser } from 'playwright-core';

/**
 * The executable on the PATH, or null. The shell without a window comes first: it draws the same pages with half the
 * work. A graphics card is seen by the whole browser only.
 */
export function chromiumPath({ gpu = false } = {}): string | null {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'chrome'];
  if (!gpu) names.unshift('chromium-headless-shell', 'chrome-headless-shell');
  for (const directory of (process.env.PATH ?? '').split(delimiter)) {
    for (const name of names) {
      try {
        accessSync(join(directory, name), constants.X_OK);
        return join(directory, name);
      } catch {
        continue;
      }
    }
  }
  return null;
}

/** No sandbox: it does not start as root, and the pages are our own. */
const common = ['--no-sandbox', '--enable-unsafe-webgpu'];
const software = ['--use-webgpu-adapter=swiftshader', '--enable-unsafe-swiftshader'];

/** `args` are further flags of Chromium's. */
export async function launchChromium({
  gpu = false,
  args = [],
}: {
  gpu?: boolean;
  args?: readonly string[];
} = {}): Promise<Browser> {
  const executablePath = chromiumPath({ gpu });
  if (executablePath === null)
    throw new Error(
      'no chromium on the PATH; install it (Debian: apt-get install chromium) or open the page in your own browser',
    );
  // Who calls has a limit of their own: on a busy machine half a minute may be too short.
  return chromium.launch({
    executablePath,
    headless: true,
    timeout: 0,
    args: [...common, ...(gpu ? [] : software), ...args],
  });
}

/**
 * A server on this machine only, whose pages may share memory between threads: cross-origin isolated, which takes both
 * headers below.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A file of a site. */
export interface File {
  readonly type: string;
  readonly body: string | Uint8Array;
}

/** A site that is being served. */
export interface Site {
  readonly url: string;
  close(): Promise<void>;
}

/** Where a site is served. */
export interface ServeOptions {
  /** What a page posts to /results. */
  readonly onResults?: (text: string) => void;
  /** 0 is any that is free. */
  readonly port?: number;
  /** Without it the server is like most on the web: a page gets no shared memory unless its service worker asks. */
  readonly isolated?: boolean;
}

const isolation = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

/** Serves files by path. */
export async function serve(
  files: Readonly<Record<string, File>>,
  { onResults = () => {}, port = 0, isolated = true }: ServeOptions = {},
): Promise<Site> {
  const headers = { 'Cache-Control': 'no-store', ...(isolated ? isolation : {}) };
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://localhost').pathname;
    if (request.method === 'POST' && path === '/results') {
      let text = '';
      request
        .setEncoding('utf8')
        .on('data', (part: string) => {
          text += part;
        })
        .on('end', () => {
          response.writeHead(204, headers).end();
          onResults(text);
        });
      return;
    }
    const file = Object.hasOwn(files, path) ? files[path] : undefined;
    if (!file) response.writeHead(404, headers).end();
    else response.writeHead(200, { ...headers, 'Content-Type': file.type }).end(file.body);
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}/`,
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

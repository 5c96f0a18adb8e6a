/**
 * The site's service worker: it keeps the site for use without a network, and adds the headers that shared memory
 * needs.
 * `VERSION` and `FILES` are the build's: a new build is a new worker with its own store. Samples are kept once
 * read.
 */

declare const VERSION: string;
declare const FILES: readonly string[];

interface Extendable extends Event {
  waitUntil(work: Promise<unknown>): void;
}
interface Fetching extends Extendable {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}
const self = globalThis as unknown as {
  readonly registration: { readonly scope: string };
  readonly clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
  addEventListener<E>(type: string, listener: (event: E) => void): void;
};

const ours = 's2t2-playground ';
const store = ours + VERSION;

self.addEventListener<Extendable>('install', event =>
  event.waitUntil(
    caches
      .open(store)
      .then(cache =>
        cache.addAll(FILES.map(file => new Request(new URL(file, self.registration.scope), { cache: 'reload' }))),
      )
      .then(() => self.skipWaiting()),
  ),
);

self.addEventListener<Extendable>('activate', event =>
  event.waitUntil(
    caches
      .keys()
      .then(names =>
        Promise.all(names.filter(name => name.startsWith(ours) && name !== store).map(name => caches.delete(name))),
      )
      .then(() => self.clients.claim()),
  ),
);

/** The same response, isolated, and with nowhere to send anything. */
function isolated(response: Response): Response {
  if (response.status === 0) return response;
  const headers = new Headers(response.headers);
  headers.set('Cross-Origin-Opener-Policy', 'same-origin');
  headers.set('Cross-Origin-Embedder-Policy', 'require-corp');
  headers.set('Cross-Origin-Resource-Policy', 'same-origin');
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

async function answer(request: Request): Promise<Response> {
  const cache = await caches.open(store);
  const kept = await cache.match(request, { ignoreSearch: true });
  if (kept) return isolated(kept);
  const response = await fetch(request);
  if (response.ok) await cache.put(request, response.clone());
  return isolated(response);
}

self.addEventListener<Fetching>('fetch', event => {
  const { method, url } = event.request;
  if (method === 'GET' && url.startsWith(self.registration.scope)) event.respondWith(answer(event.request));
});

/**
 * Shared memory between threads needs a cross-origin isolated page, which takes headers that many web servers cannot be
 * told to send. The site's service worker adds them, and serves the site when there is no network.
 */

/**
 * The worker takes over when it has fetched what a visit needs, the model too, which the page would wait for anyway. A
 * page that reloads before that stays without its headers, on one thread. In milliseconds.
 */
const longestWait = 30_000;

/** Registers the service worker. True where the page is about to be loaded again, now with its headers. */
export async function isolate(): Promise<boolean> {
  if (!('serviceWorker' in navigator) || !isSecureContext) return false;
  try {
    const registration: Partial<ServiceWorkerRegistration> | undefined = await navigator.serviceWorker.register(
      new URL('sw.js', document.baseURI),
    );
    // Where service workers are blocked, `register` may resolve without one; then there is nothing to wait for.
    const worker = registration?.installing ?? registration?.waiting ?? registration?.active;
    if (crossOriginIsolated || !worker) return false;
    // Once: a browser that is not isolated after it continues with one thread.
    if (sessionStorage.getItem('isolating') !== null) return false;
    sessionStorage.setItem('isolating', '1');
    if (!navigator.serviceWorker.controller)
      await Promise.race([
        new Promise(resolve => navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true })),
        new Promise(resolve => setTimeout(resolve, longestWait)),
      ]);
    location.reload();
    return true;
  } catch {
    return false; // the browser forbids service workers or storage here
  }
}

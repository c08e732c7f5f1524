/* Keeps a page equal to the app that made it. */
(() => {
  'use strict';
  const script = document.currentScript;
  if (!script || self.origin === 'null' || !window.EventSource) return;
  const key = Symbol.for('goreload');
  const stamp = ({ made }) => made?.split(' ').map((part, n) => (n ? +part : part));
  // A page that swaps its own body runs this again: then only what it was made by is new.
  if (window[key]) return window[key](stamp(script.dataset));

  let made = stamp(script.dataset); // [run, launch, refreshes]; none: the page is our own, about an error
  window[key] = (newer) => (made = newer ?? made);
  let due = false; // only a reload makes this page the newest
  let overlay; // loaded when there is something to show; a page that cannot have it follows all the same
  const load = async (name) => (await import(new URL(name, script.src))).default;
  const shown = () => (overlay ??= load('overlay.js').then((make) => make(!made)).catch(() => (overlay = undefined)));

  // A page that the browser has kept would ask for ever: it is reloaded once for what it should be.
  const reload = ({ run, launch, refreshes }) => {
    const now = [location.href, run, launch, refreshes].join();
    try {
      if (sessionStorage.getItem('goreload-asked') === now) return;
      sessionStorage.setItem('goreload-asked', now);
      sessionStorage.setItem('goreload', JSON.stringify([location.href, scrollX, scrollY]));
    } catch {}
    location.reload();
  };

  const take = async (event) => {
    if (event.kind === 'held') return overlay?.then((it) => it?.held(`Waiting for ${event.what} ...`));
    if (event.view) await (await shown())?.show(event.view);
    if (!made) {
      if (event.kind !== 'open') return;
      const { method } = script.dataset;
      return method === 'GET' ? location.reload() : (await shown())?.mended(method);
    }
    const [run, launch, refreshes] = made;
    if (event.run !== run || event.launch > launch) due = true;
    else if (event.refreshes > refreshes) {
      made = [run, launch, event.refreshes];
      if (await load('refresh.js').then((refresh) => refresh(event, refreshes)).catch(() => true)) due = true;
    }
    if (event.kind !== 'open') return;
    overlay?.then((it) => it?.hide());
    if (!due) return;
    due = false;
    made = [event.run, event.launch, event.refreshes]; // should the reload be refused, the next launch asks again
    reload(event);
  };

  if (!made) shown();
  // Asked under another name each time: some browsers remember that a module could not be had.
  const follow = (n) => load(`stream.js?${n}`).then((join) => join(take)).catch(() => setTimeout(follow, 2000, n + 1));
  follow(0);

  addEventListener('load', () => {
    try {
      const [href, left, top] = JSON.parse(sessionStorage.getItem('goreload')) ?? [];
      sessionStorage.removeItem('goreload');
      if (href === location.href) scrollTo({ left, top, behavior: 'instant' });
    } catch {}
  });
})();

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
  let due = false; // only a reload makes this page the newest
  window[key] = (newer) => (newer ? (made = newer) : made && (due = true)); // our own page took the place of its body
  let newest, overlay; // the overlay is loaded when there is something to show
  let missed = 0; // some browsers remember that a module could not be had: then it is asked for under another name
  const load = (name) => import(new URL(`${name}?${missed}`, script.src))
    .then((module) => module.default, (error) => (missed += 1, Promise.reject(error)));
  const shown = () => (overlay ??= load('overlay.js').then((make) => make(!made)).catch(() => (overlay = undefined)));
  const slot = (what) => `goreload ${what} ${location.href}`; // frames of one page have each their own

  // A page that the browser has kept would ask for ever: it is reloaded once for what it should be.
  const reload = ({ run, launch, refreshes }) => {
    const now = [run, launch, refreshes].join();
    try {
      if (sessionStorage.getItem(slot('asked')) === now) return;
      sessionStorage.setItem(slot('asked'), now);
      sessionStorage.setItem(slot('at'), JSON.stringify([scrollX, scrollY]));
    } catch {}
    location.reload();
  };

  const take = async (event) => {
    newest = event;
    if (!made && event.kind !== 'open') due = false;
    if (event.kind === 'held') return overlay?.then((it) => it?.held(`Waiting for ${event.what} ...`));
    if (event.kind !== 'open') return (await shown())?.show(event.view);
    overlay?.then((it) => it?.hide());
    if (!made) {
      const { method } = script.dataset;
      if (due) return;
      due = method === 'GET';
      return due ? location.reload() : (await shown())?.mended(method);
    }
    const [run, launch, refreshes] = made;
    if (event.run !== run || event.launch > launch) due = true;
    else if (event.refreshes > refreshes) {
      made = [run, launch, event.refreshes];
      if (await load('refresh.js').then((refresh) => refresh(event, refreshes)).catch(() => true)) due = true;
    }
    if (!due || newest.kind !== 'open') return; // what is shown meanwhile stays, and the next that opens reloads
    due = false;
    made = [newest.run, newest.launch, newest.refreshes]; // should it be refused, the next launch asks again
    reload(newest);
  };

  if (!made) shown();
  const follow = () => load('stream.js').then((join) => { join(take); }, () => { setTimeout(follow, 2000); });
  follow();
  if (made) addEventListener('load', () => {
    try {
      if (sessionStorage.getItem(slot('asked')) === made.join()) sessionStorage.removeItem(slot('asked'));
      const [left, top] = JSON.parse(sessionStorage.getItem(slot('at'))) ?? [];
      sessionStorage.removeItem(slot('at'));
      if (top !== undefined) scrollTo({ left, top, behavior: 'instant' });
    } catch {}
  });
})();

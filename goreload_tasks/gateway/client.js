/* Keeps a page equal to the app that made it. All tabs of an origin share one stream: the tab that holds the lock
   reads it and tells the others, so that the page keeps its six connections. */
(() => {
  'use strict';
  const script = document.currentScript;
  if (!script || self.origin === 'null' || !window.EventSource) return;
  const NAME = 'goreload';
  const key = Symbol.for(NAME);
  const stamp = (text) => text?.split(' ').map((part, n) => (n ? +part : part));
  // A page that swaps its own body runs this again: then only what it was made by is new.
  if (window[key]) return window[key](stamp(script.dataset.made));

  let made = stamp(script.dataset.made); // [run, launch, refreshes]; none: the page is our own, about an error
  const { method } = script.dataset;
  const at = (name) => new URL(name, script.src).href;
  let due = false; // only a reload makes this page the newest
  let overlay; // loaded when there is something to show; a page that cannot have it follows all the same
  const failed = () => (overlay = undefined);
  const shown = () => (overlay ??= import(at('overlay.js')).then(({ default: make }) => make(!made)).catch(failed));

  // What is so.

  // A page that the browser has kept would ask for ever: it is reloaded once for what it should be.
  const asked = ({ run, launch, refreshes }) => {
    const now = [location.href, run, launch, refreshes].join();
    try {
      if (sessionStorage.getItem(`${NAME}-asked`) === now) return true;
      sessionStorage.setItem(`${NAME}-asked`, now);
    } catch {}
    return false;
  };

  const reload = () => {
    try {
      sessionStorage.setItem(NAME, JSON.stringify([location.href, scrollX, scrollY]));
    } catch {}
    location.reload();
  };

  const refresh = async (files) => {
    const ends = (url, file) => new URL(url).pathname.endsWith('/' + file.split('/').pop());
    const ours = (url) => url.startsWith(location.origin + '/');
    const loaded = performance.getEntriesByType('resource').map((entry) => entry.name);
    const changed = loaded.filter((url) => ours(url) && files.some((file) => ends(url, file)));
    // What the browser keeps of them is replaced first, also for imports and for later loads.
    await Promise.all([...new Set(changed)].map((url) => fetch(url, { cache: 'reload' }).catch(() => {})));
    const links = [...document.querySelectorAll('link[rel~=stylesheet]')].filter((link) => ours(link.href));
    if (!files.every((file) => file.endsWith('.css')) || links.some((link) => link.integrity)) return true;
    const named = links.filter((link) => files.some((file) => ends(link.href, file)));
    for (const link of named.length ? named : links) {
      const url = new URL(link.href);
      url.searchParams.set(NAME, Date.now());
      const next = link.cloneNode();
      next.href = url.href;
      next.onload = next.onerror = () => link.remove(); // never without one: no flash
      link.after(next);
    }
  };

  const take = async (event) => {
    if (event.kind === 'held') return overlay?.then((it) => it?.held(`Waiting for ${event.what} ...`));
    if (event.view) await (await shown())?.show(event.view);
    if (!made) {
      if (event.kind !== 'open') return;
      if (method === 'GET') return reload();
      const words = [['h1', {}, ['Mended']], ['p', { class: 'detail' }, [`Reload this page to send the ${method} again.`]]];
      return (await shown())?.show(['main', { class: 'goreload waits' }, [['header', {}, words]]]);
    }
    const [run, launch, refreshes] = made;
    if (event.run !== run || event.launch > launch) due = true;
    else if (event.refreshes > refreshes) {
      made = [run, launch, event.refreshes];
      const missed = event.refreshed.filter(([number]) => number > refreshes);
      const files = missed.flatMap(([, names]) => names);
      if (missed.length < event.refreshes - refreshes || (await refresh(files))) due = true;
    }
    if (event.kind !== 'open') return;
    overlay?.then((it) => it?.hide());
    if (!due) return;
    due = false;
    made = [event.run, event.launch, event.refreshes]; // should the reload be refused, the next launch asks again
    if (!asked(event)) reload();
  };

  // How it is known.

  let stop, channel, stream, last, timer;

  const follow = () => {
    stream = new EventSource(at('events'));
    stream.onmessage = ({ data }) => {
      last = JSON.parse(data);
      channel?.postMessage(last);
      take(last).catch(() => {});
    };
    stream.onerror = () => {
      last = undefined; // of a tool that is gone, perhaps
      if (stream.readyState === EventSource.CLOSED) timer = setTimeout(follow, 2000);
    };
  };

  const shared = navigator.locks && window.BroadcastChannel;

  const start = () => {
    if (stop) return;
    stop = new AbortController();
    if (!shared) return follow();
    channel = new BroadcastChannel(NAME);
    channel.onmessage = ({ data }) => {
      if (data !== 'hello') take(data).catch(() => {});
      else if (last) channel.postMessage(last);
    };
    channel.postMessage('hello');
    const { signal } = stop;
    const held = () => new Promise((done) => {
      signal.addEventListener('abort', done);
      follow();
    });
    navigator.locks.request(NAME, { signal }, held).catch(() => {});
  };

  const end = () => {
    stop?.abort();
    channel?.close();
    stream?.close();
    clearTimeout(timer);
    stop = channel = stream = last = undefined;
  };

  window[key] = (newer) => (made = newer ?? made);
  if (!made) shown();
  addEventListener('pagehide', end); // a page that holds a lock or a stream cannot be kept for "back"
  addEventListener('pageshow', ({ persisted }) => persisted && start());
  // Without a lock each tab has a stream of its own: then only those that are seen.
  if (!shared) document.addEventListener('visibilitychange', () => (document.hidden ? end() : start()));
  addEventListener('load', () => {
    try {
      const [href, left, top] = JSON.parse(sessionStorage.getItem(NAME)) ?? [];
      sessionStorage.removeItem(NAME);
      if (href === location.href) scrollTo({ left, top, behavior: 'instant' });
    } catch {}
  });
  start();
})();

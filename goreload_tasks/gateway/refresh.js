/* Takes in files that are new without a new launch: style sheets are swapped; true: only a reload will do. */
const PATIENCE = 5000; // milliseconds for a style sheet; the page may have removed it meanwhile, and then nobody tells

const ends = (url, file) => new URL(url).pathname.endsWith('/' + file.split('/').pop());
const ours = (url) => url.startsWith(location.origin + '/');
const again = (url) => new URL(url).searchParams.has('goreload'); // one that we have swapped in, which has had its time

const swapped = (link) => new Promise((done) => {
  const url = new URL(link.href);
  url.searchParams.set('goreload', Date.now());
  const next = link.cloneNode();
  next.href = url.href;
  next.onload = () => { // never without one: no flash
    link.remove();
    done(true);
  };
  next.onerror = () => {
    next.remove();
    done(false);
  };
  setTimeout(done, PATIENCE, true);
  link.after(next);
});

/* seen: the number of the last refresh that the page has taken in. */
const refresh = async ({ refreshed, refreshes }, seen) => {
  const missed = refreshed.filter(([number]) => number > seen);
  if (missed.length < refreshes - seen) return true; // the oldest are not told any more
  const files = missed.flatMap(([, names]) => names);
  const loaded = performance.getEntriesByType('resource').map((entry) => entry.name);
  const changed = loaded.filter((url) => ours(url) && !again(url) && files.some((file) => ends(url, file)));
  // What the browser keeps of them is replaced first, also for imports and for later loads.
  await Promise.all([...new Set(changed)].map((url) => fetch(url, { cache: 'reload' }).catch(() => {})));
  const sheets = [...document.querySelectorAll('link[rel~=stylesheet]')];
  const links = sheets.filter((link) => ours(link.href) && !link.disabled); // a disabled one is not loaded
  if (!files.every((file) => file.endsWith('.css')) || links.some((link) => link.integrity)) return true;
  const named = links.filter((link) => files.some((file) => ends(link.href, file)));
  return (await Promise.all((named.length ? named : links).map(swapped))).includes(false);
};

let before = Promise.resolve();

/* One after the other: two at once would each clone what the other has not replaced yet. */
export default (event, seen) => (before = before.catch(() => {}).then(() => refresh(event, seen)));

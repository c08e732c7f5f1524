/* What is so, as it comes. All tabs of an origin share one stream, so that the page keeps its six connections: the tab
   that holds the lock reads it and tells the others. One that hears nothing of it reads a stream of its own. */
const NAME = 'goreload';
const PATIENCE = 1500; // milliseconds for an answer of the tab that leads; it may stand at a breakpoint
let shared = navigator.locks && window.BroadcastChannel;

export default (take) => {
  let stop, channel, stream, leads, last, again, patience;

  const follow = () => {
    if (stream) return;
    stream = new EventSource(new URL('events', import.meta.url));
    stream.onmessage = ({ data }) => {
      last = JSON.parse(data);
      if (leads) channel.postMessage(last);
      take(last).catch(() => {});
    };
    stream.onerror = ({ target }) => {
      last = undefined; // of a tool that is gone, perhaps
      if (target.readyState !== EventSource.CLOSED) return;
      stream = undefined;
      again = setTimeout(follow, 2000);
    };
  };

  const leave = () => {
    stream?.close();
    clearTimeout(again);
    stream = last = undefined;
  };

  const ask = () => {
    channel.postMessage('hello');
    clearTimeout(patience);
    if (!document.hidden) patience = setTimeout(follow, PATIENCE);
  };

  const hear = ({ data }) => {
    if (data === 'hello') return leads && channel.postMessage(last ?? 'here');
    clearTimeout(patience);
    if (!leads) leave();
    if (data !== 'here') take(data).catch(() => {});
  };

  const start = () => {
    stop = new AbortController();
    const { signal } = stop;
    try {
      channel = new BroadcastChannel(NAME);
    } catch {
      return alone(); // storage is denied, and locks with it
    }
    channel.onmessage = hear;
    ask();
    const lead = () => new Promise((done) => {
      signal.addEventListener('abort', done);
      leads = true;
      follow();
      channel.postMessage(last ?? 'here');
    });
    navigator.locks.request(NAME, { signal }, lead).catch(() => signal.aborted || alone());
  };

  const end = () => {
    stop?.abort();
    channel?.close();
    clearTimeout(patience);
    leave();
    stop = channel = leads = undefined;
  };

  const alone = () => {
    shared = false;
    begin();
  };

  const begin = () => {
    end(); // a page that was put away while this came has begun already, and what it began is dead
    if (shared) start();
    else if (!document.hidden) follow(); // each tab has a stream of its own: then only those that are seen
  };

  addEventListener('pagehide', end); // a page that holds a lock or a stream cannot be kept for "back"
  addEventListener('pageshow', ({ persisted }) => persisted && begin());
  const seen = () => {
    if (!shared) return begin();
    if (!channel || leads) return;
    if (!document.hidden) return ask();
    clearTimeout(patience);
    leave();
  };
  document.addEventListener('visibilitychange', seen);
  addEventListener('focus', () => shared && seen());
  begin();
};

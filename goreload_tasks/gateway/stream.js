/* What is so, as it comes. All tabs of an origin share one stream: the tab that holds the lock reads it and tells the
   others, so that the page keeps its six connections. */
const NAME = 'goreload';
const shared = navigator.locks && window.BroadcastChannel;

export default (take) => {
  let stop, channel, stream, last, timer;

  const follow = () => {
    stream = new EventSource(new URL('events', import.meta.url));
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

  const start = () => {
    if (stop) return;
    stop = new AbortController();
    if (!shared) return follow();
    try {
      channel = new BroadcastChannel(NAME);
    } catch {
      return follow(); // storage is denied
    }
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
    navigator.locks.request(NAME, { signal }, held).catch(() => signal.aborted || follow());
  };

  const end = () => {
    stop?.abort();
    channel?.close();
    stream?.close();
    clearTimeout(timer);
    stop = channel = stream = last = undefined;
  };

  addEventListener('pagehide', end); // a page that holds a lock or a stream cannot be kept for "back"
  addEventListener('pageshow', ({ persisted }) => persisted && start());
  // Without a lock each tab has a stream of its own: then only those that are seen.
  if (!shared) document.addEventListener('visibilitychange', () => (document.hidden ? end() : start()));
  if (shared || !document.hidden) start();
};

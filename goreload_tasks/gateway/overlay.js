/* What is wrong, over a page of the app, or in our own page that stands in its place. Loaded when something is wrong. */
const build = (node) => { // only text and attributes of ours: no markup is parsed (Trusted Types)
  if (typeof node === 'string') return document.createTextNode(node);
  const [name, attributes, children] = node;
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  element.append(...children.map(build));
  return element;
};

const copy = async (text) => {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement('textarea'); // not a secure context: a machine in the same network, say
  field.value = text;
  document.documentElement.append(field);
  field.select();
  document.execCommand('copy');
  field.remove();
};

/* own: the page is ours, and its only <main> is what is shown. */
export default (own) => {
  let host, main, look;
  let told, closed; // what is shown, and what a person has closed: as text, for a person may have changed the nodes

  const clicked = async ({ target }) => {
    if (target.closest('.close')) return close();
    const button = target.closest('[data-copy]');
    if (!button) return;
    await copy(button.dataset.copy);
    button.textContent = 'copied';
    setTimeout(() => (button.textContent = 'copy'), 1000);
  };

  const show = async (view) => {
    const text = JSON.stringify(view);
    const next = build(view);
    if (text === told || text === closed || main?.isEqualNode(next)) return;
    told = text;
    if (own || host) {
      main.replaceWith(next);
      main = next;
      return;
    }
    if (window.frameElement) return; // the page around it shows it
    const mine = (host = document.createElement('goreload-overlay'));
    const shadow = host.attachShadow({ mode: 'closed' });
    const root = build(['div', { class: 'shade' }, [['button', { type: 'button', class: 'close' }, ['close (Esc)']]]]);
    root.addEventListener('click', clicked);
    shadow.append(root);
    main = next;
    root.append(main);
    look ??= fetch(new URL('look.css', import.meta.url)).then((answer) => answer.text()).catch(() => (look = ''));
    const sheet = new CSSStyleSheet(); // style-src does not speak of these
    sheet.replaceSync(await look);
    shadow.adoptedStyleSheets = [sheet];
    if (host === mine) document.documentElement.append(host);
  };

  const hide = () => {
    host?.remove();
    if (!own) host = main = told = closed = undefined;
  };

  const close = () => {
    const seen = told;
    hide();
    closed = seen;
  };

  const held = (text) => {
    told = closed = undefined;
    const line = main?.querySelector('.status');
    if (line) line.textContent = text;
  };

  /* What our own page said is true no more, and a person must ask again. */
  const mended = (method) => {
    const words = [['h1', {}, ['Mended']], ['p', { class: 'detail' }, [`Reload this page to send the ${method} again.`]]];
    return show(['main', { class: 'goreload waits' }, [['header', {}, words]]]);
  };

  if (own) {
    main = document.querySelector('main');
    document.body.addEventListener('click', clicked);
  }
  addEventListener('keydown', ({ key }) => key === 'Escape' && host && close(), true);
  return { show, hide, held, mended };
};

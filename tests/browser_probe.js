// What a reader sees on the open page. "ink" is what a glyph leaves inside a figure's frame: pixels that are neither
// transparent nor the grey of background, grid and axes (Bokeh draws into canvases inside shadow roots). "wide" lists
// what sticks out of the window, "clipped" what is cut off with no way to scroll to it.
() => {
  const ink = view => {
    const box = view.frame.bbox, layer = view.canvas_view.primary, ratio = layer.canvas.width / layer.width || 1;
    if (box.width < 1 || box.height < 1) return 0;
    const d = layer.ctx.getImageData(box.left * ratio, box.top * ratio, box.width * ratio, box.height * ratio).data;
    let n = 0;
    for (let k = 0; k < d.length; k += 4) {
      const low = Math.min(d[k], d[k + 1], d[k + 2]), high = Math.max(d[k], d[k + 1], d[k + 2]);
      if (d[k + 3] > 20 && (high - low > 24 || high < 120)) n++;
    }
    return n;
  };
  const figures = [];
  const walk = view => {
    if (view.model && view.model.type === 'Figure') {
      const box = view.el.getBoundingClientRect();
      figures.push({title: (view.model.title || {}).text || '', ink: ink(view), width: box.width, right: box.right});
    }
    for (const child of view.child_views || []) walk(child);
  };
  if (typeof Bokeh !== 'undefined') for (const view of Bokeh.index.roots) walk(view);

  const images = [...document.images];
  const drawings = [...document.querySelectorAll('article svg')].filter(
    e => !e.closest('[aria-hidden=true], a, button, summary, .cell_output, mjx-container'));
  const name = e => `${e.tagName} ${e.getAttribute('class') || ''} ${(e.src || e.textContent || '').trim().slice(0, 60)}`;

  const scrolls = e => {
    for (let p = e.parentElement; p && p !== document.body; p = p.parentElement)
      if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(p).overflowX)) return true;
    return false;
  };
  const shown = [...document.querySelectorAll('article *')].filter(
    e => e.getBoundingClientRect().width > 1 && !e.closest('mjx-container, svg, .visually-hidden, .headerlink'));
  return {
    figures, title: document.title, headings: document.querySelectorAll('article h1').length,
    broken: images.filter(i => !i.complete || !i.naturalWidth).map(name),
    unnamed: [...images.filter(i => !(i.getAttribute('alt') || '').trim()),
              ...drawings.filter(s => !s.getAttribute('aria-label') && !s.querySelector('title'))].map(name),
    math: document.querySelectorAll('span.math, div.math').length,
    rendered: document.querySelectorAll('mjx-container').length,
    mathErrors: document.querySelectorAll('mjx-merror').length,
    width: document.documentElement.scrollWidth, viewport: window.innerWidth,
    wide: shown.filter(e => e.getBoundingClientRect().right > window.innerWidth + 1 && !scrolls(e)).map(name),
    clipped: shown.filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline' &&
                               ['hidden', 'clip'].includes(getComputedStyle(e).overflowX)).map(name),
  };
}

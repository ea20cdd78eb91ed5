/** What draws the page that {@link drawRun} makes. It finds `data` as a constant; plain JavaScript, for a browser. */
export const PAGE_SCRIPT = String.raw`
const NS = 'http://www.w3.org/2000/svg';
const ROW = 26;
const AXIS = 24;
const tip = document.getElementById('tip');

function element(name, attributes, parent) {
  const one = document.createElementNS(NS, name);
  for (const key in attributes) one.setAttribute(key, attributes[key]);
  if (parent) parent.appendChild(one);
  return one;
}

function html(name, className, text, parent) {
  const one = document.createElement(name);
  if (className) one.className = className;
  if (text !== undefined) one.textContent = text;
  if (parent) parent.appendChild(one);
  return one;
}

const ms = (value) => (Math.round(value * 1000) / 1000).toString() + ' ms';

/** Gives each bar a row of its own where bars of one lane overlap. */
function packed(bars) {
  const ends = [];
  for (const bar of [...bars].sort((a, b) => a.from - b.from)) {
    let row = ends.findIndex((end) => end <= bar.from);
    if (row < 0) row = ends.length;
    ends[row] = Math.max(bar.from, bar.until);
    bar.row = row;
  }
  return Math.max(1, ends.length);
}

function lanesOf(picture) {
  const lanes = [];
  const faults = data.faults.map((fault) => ({
    kind: 'fault',
    label: fault.name,
    from: fault.atMs,
    until: Math.min(fault.atMs + fault.durationMs, data.endMs),
    lines: ['fault #' + fault.id, fault.durationMs > 0 ? ms(fault.atMs) + ', for ' + ms(fault.durationMs) : ms(fault.atMs)],
  }));
  if (faults.length > 0) lanes.push({ name: 'faults', bars: faults });
  const byProcess = new Map();
  for (const bar of picture ? picture.bars : []) {
    const known = byProcess.get(bar.process) || [];
    byProcess.set(bar.process, known);
    const to = bar.to === null ? data.endMs : bar.to;
    known.push({
      kind: bar.outcome === 'ok' ? 'ok' : bar.outcome === 'fail' ? 'fail' : 'unknown',
      core: bar.core,
      label: bar.label,
      still: bar.to === null,
      from: bar.from,
      until: to,
      lines: [
        bar.process + ', ' + ms(bar.from) + ' to ' + (bar.to === null ? 'the end' : ms(bar.to)),
        'asked: ' + bar.input,
        bar.outcome === 'ok' ? 'answered: ' + bar.output : bar.outcome === 'fail' ? 'failed: certainly no effect' : bar.outcome === 'still open' ? 'never answered: unknown outcome' : 'given up: unknown outcome',
      ].concat(bar.reason ? [bar.reason] : []),
    });
  }
  const names = [...byProcess.keys()].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  for (const name of names) lanes.push({ name, bars: byProcess.get(name) });
  for (const lane of lanes) lane.rows = packed(lane.bars);
  return lanes;
}

function show(bar, event) {
  tip.replaceChildren();
  html('b', '', bar.label, tip);
  bar.lines.forEach((line, at) => html('div', '', undefined, tip).appendChild(html(at === 0 ? 'i' : 'span', '', line)));
  tip.hidden = false;
  const box = event.target.getBoundingClientRect();
  const x = event.clientX || box.left;
  const y = event.clientY || box.bottom;
  tip.style.left = Math.min(x + 14, innerWidth - tip.offsetWidth - 8) + 'px';
  tip.style.top = (y + 18 + tip.offsetHeight > innerHeight ? y - tip.offsetHeight - 12 : y + 18) + 'px';
}

function step(span, width) {
  const rough = (span * 90) / width;
  const power = Math.pow(10, Math.floor(Math.log10(rough)));
  return [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
}

function chart(at) {
  const picture = data.pictures[at];
  const host = document.getElementById('chart-' + at);
  const lanes = lanesOf(picture);
  const names = html('div', 'names', undefined, host);
  const scroll = html('div', 'scroll', undefined, host);
  for (const lane of lanes) for (let row = 0; row < lane.rows; row++) html('div', '', row === 0 ? lane.name : '', names);
  html('div', 'axis', 'ms', names);
  const legend = html('div', 'legend', undefined, host);
  const core = picture ? picture.bars.filter((bar) => bar.core) : [];
  const kinds = [['ok', 'answered'], ['unknown', 'unknown outcome'], ['fail', 'failed: no effect'], ['fault', 'fault']];
  if (core.length > 0) kinds.unshift(['bad', 'no order explains these']);
  for (const [kind, label] of kinds) {
    const one = html('span', '', label, legend);
    one.style.setProperty('--fill', 'var(--' + (kind === 'bad' ? 'bad-fill' : kind) + ')');
    one.style.setProperty('--edge', 'var(--' + (kind === 'bad' ? 'bad' : kind + '-line') + ')');
  }
  const height = lanes.reduce((sum, lane) => sum + lane.rows * ROW, 0) + AXIS;
  const whole = { from: 0, until: Math.max(data.endMs, 1) };
  let focus = whole;
  if (core.length > 0) {
    const from = Math.min(...core.map((bar) => bar.from));
    const until = Math.max(...core.map((bar) => (bar.to === null ? bar.from : bar.to)));
    const margin = Math.max((until - from) * 0.15, 0.5);
    focus = { from: Math.max(0, from - margin), until: Math.min(whole.until, until + margin) };
  } else {
    // A run that stood still for long before it was given up begins with the part in which something happened.
    const busy = Math.max(0, ...lanes.flatMap((lane) => lane.bars.map((bar) => (bar.still ? bar.from : bar.until)))) * 1.03;
    if (busy > 0 && busy < whole.until / 2) focus = { from: 0, until: busy };
  }
  let scale = 1;

  function draw(perMs, keepMs) {
    scale = perMs;
    const width = Math.max(scroll.clientWidth, (whole.until - whole.from) * scale + 20);
    const x = (value) => (value - whole.from) * scale + 6;
    scroll.replaceChildren();
    const svg = element('svg', { width, height, class: core.length > 0 ? 'dimmed' : '' }, scroll);
    const first = Math.max(whole.from, keepMs - 4000 / scale);
    const last = Math.min(whole.until, keepMs + 8000 / scale);
    const every = step(scroll.clientWidth / scale, scroll.clientWidth);
    for (let tick = Math.ceil(first / every) * every; tick <= last; tick += every) {
      element('line', { x1: x(tick), x2: x(tick), y1: 0, y2: height - AXIS, class: 'grid' }, svg);
      const text = (Math.round(tick * 1000) / 1000).toString();
      // The last one has no room on its right.
      const ends = x(tick) + 6 + text.length * 7 > width;
      const place = { x: x(tick) + (ends ? -3 : 3), y: height - 8, 'text-anchor': ends ? 'end' : 'start', class: 'tick' };
      element('text', place, svg).textContent = text;
    }
    let top = 0;
    for (const lane of lanes) {
      for (const bar of lane.bars) {
        if (bar.until < first || bar.from > last) continue;
        const y = top + bar.row * ROW + 3;
        const left = x(bar.from);
        const length = Math.max(4, (bar.until - bar.from) * scale);
        const classes = bar.kind + (bar.core ? ' core' : '');
        if (bar.kind === 'unknown') {
          element('line', { x1: left, x2: x(whole.until), y1: y + ROW - 5, y2: y + ROW - 5, class: 'open' }, svg);
        }
        const rect = element('rect', { x: left, y, width: length, height: ROW - 7, rx: 4, class: 'bar ' + classes, tabindex: 0, 'aria-label': bar.label }, svg);
        rect.addEventListener('mousemove', (event) => show(bar, event));
        rect.addEventListener('focus', (event) => show(bar, event));
        rect.addEventListener('mouseleave', () => (tip.hidden = true));
        rect.addEventListener('blur', () => (tip.hidden = true));
        const fits = Math.floor((length - 10) / 6.8);
        if (fits >= 3) {
          const label = element('text', { x: Math.max(left, 0) + 5, y: y + 14, class: 'label ' + classes }, svg);
          label.textContent = bar.label.length <= fits ? bar.label : bar.label.slice(0, fits - 1) + '…';
        }
      }
      top += lane.rows * ROW;
      element('line', { x1: 0, x2: width, y1: top - 0.5, y2: top - 0.5, class: 'row' }, svg);
    }
    scroll.scrollLeft = x(keepMs) - 10;
  }

  function look(range) {
    draw((scroll.clientWidth - 20) / (range.until - range.from), range.from);
  }

  function zoom(factor) {
    const middle = (scroll.scrollLeft + scroll.clientWidth / 2) / scale;
    const next = Math.min(5000, Math.max((scroll.clientWidth - 20) / (whole.until - whole.from), scale * factor));
    draw(next, Math.max(0, middle - scroll.clientWidth / 2 / next));
  }

  let pending = 0;
  let drawnAt = 0;
  scroll.addEventListener('scroll', () => {
    // Only what is near is drawn: a long run has more bars than a browser likes.
    if (Math.abs(scroll.scrollLeft - drawnAt) < 3000 || pending) return;
    pending = requestAnimationFrame(() => {
      pending = 0;
      const left = scroll.scrollLeft;
      drawnAt = left;
      draw(scale, (left + 4) / scale);
    });
  });
  scroll.addEventListener('wheel', (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.4 : 1 / 1.4);
  }, { passive: false });
  const buttons = document.querySelector('.zoom[data-at="' + at + '"]');
  if (buttons) {
    buttons.addEventListener('click', (event) => {
      const how = event.target.dataset.zoom;
      if (how === 'in') zoom(1.6);
      if (how === 'out') zoom(1 / 1.6);
      if (how === 'fit') look(whole);
      if (how === 'core') look(focus);
    });
    if (core.length === 0) buttons.querySelector('[data-zoom=core]').remove();
  }
  look(focus);
  addEventListener('resize', () => look(focus));
}

for (let at = 0; at < Math.max(1, data.pictures.length); at++) chart(at);
const copy = document.getElementById('copy');
if (copy) copy.addEventListener('click', () => navigator.clipboard.writeText(data.replay).then(() => (copy.textContent = 'copied')));
`;

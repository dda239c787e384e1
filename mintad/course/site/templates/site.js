// Draws the figures of a page and its panels, whose states were computed when the page was made. No network.
"use strict";

const SETTINGS = {displayModeBar: false, responsive: false};
const SPACE = {l: 80, r: 80, t: 100, b: 80};  // plotly's margins where a figure names none
const drawn = new Map();  // element of a figure -> the figure, to draw it again when the page's width changes

// The figure or state with its parts put back in their places; always a fresh copy, because plotly writes into it.
function whole(value, parts) {
  if (Array.isArray(value)) return value.map(item => whole(item, parts));
  if (value === null || typeof value !== "object") return value;
  if ("$part" in value) return whole(parts[value.$part], parts);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, whole(item, parts)]));
}

function plainText(title) {  // plotly's titles are a kind of HTML; a document that is not shown runs nothing
  const page = new DOMParser().parseFromString(title.replace(/<br ?\/?>/g, " "), "text/html");
  return page.body.textContent.trim();
}

function wrapped(words, most) {  // lines of at most so many letters, broken between words
  const lines = [];
  for (const word of words.split(/ +|<br ?\/?>/)) {
    const last = lines.at(-1);
    if (last !== undefined && plainText(`${last} ${word}`).length <= most) lines[lines.length - 1] += ` ${word}`;
    else lines.push(word);
  }
  return lines;
}

// Fit a figure to `room` pixels: the title becomes a caption that wraps, panels of a fixed size grow or shrink, and on
// a telephone the legend goes below, and captions, names of rows and titles of axes are broken into lines. Rows of
// panels need a width, which is scrolled there.
function fitted({data, layout = {}}, room) {
  const entries = layout.showlegend === false ? 0 : data.filter(trace => trace.name && trace.showlegend !== false).length;
  const title = layout.title?.text || "";
  const margin = {...SPACE, ...layout.template?.layout?.margin, ...layout.margin};
  const height = layout.height || 450, inner = height - margin.t - margin.b;
  if (title) margin.t = Math.max(8, margin.t - 38 - 20 * (title.split("<br").length - 1));
  const sides = margin.l + margin.r, narrow = room < 600, below = narrow && entries > 1 && !layout.width;
  const axes = Object.keys(layout).filter(key => key.startsWith("xaxis"));
  const across = new Set(axes.map(key => layout[key].domain?.[0] ?? 0)).size || 1;
  let scale = 1, width, longest = 0, lines = 1, more = 0, taller = 0;
  const rows = new Set();
  const rowNames = names => names.map(name => {
    if (typeof name !== "string") return name;
    const parts = narrow ? wrapped(name, 24) : [name];
    longest = Math.max(longest, ...parts.map(part => plainText(part).length));
    lines = Math.max(lines, parts.length);
    rows.add(name);
    return parts.join("<br>");
  });
  data = data.map(trace => Array.isArray(trace.y) ? {...trace, y: rowNames(trace.y)} : trace);
  layout = {...layout};
  for (const key of Object.keys(layout).filter(key => layout[key]?.categoryarray)) {
    layout[key] = {...layout[key], categoryarray: rowNames(layout[key].categoryarray)};
  }
  if (layout.width) {
    const most = Math.max(1, Math.min(1.7, 620 / inner));
    scale = Math.max(0.57, Math.min(most, (room - sides) / (layout.width - sides)));
    width = sides + (layout.width - sides) * scale;
  } else {
    width = Math.max(room, 320, across > 1 ? (narrow ? 190 : 110) * across + sides : 160 + 6.2 * longest);
    scale = lines > 1 ? Math.max(1, rows.size * (18 * lines + 4) / inner) : 1;
    const letters = Math.max(16, Math.floor((width - sides - 6.2 * longest) / across / 8));
    for (const key of axes.filter(key => narrow && layout[key].title?.text)) {
      const parts = wrapped(layout[key].title.text, letters);
      more = Math.max(more, 18 * (parts.length - 1));
      layout[key] = {...layout[key], title: {...layout[key].title, text: parts.join("<br>")}};
    }
    margin.b += more;
  }
  if (narrow && layout.annotations) {
    const letters = Math.floor((width - sides - (layout.width ? 0 : 6.2 * longest)) / across / 6.3);
    layout.annotations = layout.annotations.map(note => {
      const parts = note.text ? wrapped(note.text, Math.max(12, letters)) : [];
      taller = Math.max(taller, 12 * (parts.length - 1));
      return parts.length > 1 ? {...note, text: parts.join("<br>"), font: {...note.font, size: 9}} : note;
    });
    margin.t += taller;
  }
  const place = {orientation: "h", x: 0, xanchor: "left", y: -(70 + more) / (inner * scale), yanchor: "top"};
  const legend = below ? {...layout.legend, ...place} : layout.legend;
  if (below) margin.b = 80 + 20 * entries + more;
  const tall = inner * scale * (taller && layout.width ? 1.15 : 1);  // pictures keep their shape, the gaps grow
  return {data, layout: {...layout, title: undefined, legend, margin, width, height: tall + margin.t + margin.b}};
}

function show(box, make) {
  const figure = make();
  let [caption, plot] = box.querySelectorAll(":scope > figcaption, :scope > div");
  if (!plot) {
    caption = box.appendChild(document.createElement("figcaption"));
    plot = box.appendChild(document.createElement("div"));
  }
  caption.textContent = plainText(figure.layout?.title?.text || "");
  const fit = fitted(figure, box.clientWidth);
  drawn.set(box, make);
  if (figure.frames) return Plotly.newPlot(plot, {...fit, frames: figure.frames, config: SETTINGS});
  return Plotly.react(plot, fit.data, fit.layout, SETTINGS);
}

function control(described, moved) {
  const label = document.createElement("label"), name = document.createElement("span");
  name.textContent = described.name;
  const input = document.createElement(described.kind === "menu" ? "select" : "input"), chosen = document.createElement("output");
  if (described.kind === "menu") described.values.forEach(value => input.add(new Option(value)));
  if (described.kind === "check") input.type = "checkbox";
  if (described.kind === "slider") Object.assign(input, {type: "range", min: 0, max: described.values.length - 1, step: 1});
  const property = {menu: "selectedIndex", check: "checked", slider: "value"}[described.kind];
  const tell = () => { if (described.kind === "slider") chosen.textContent = described.values[input.value]; };
  input.addEventListener("input", () => { tell(); moved(); });
  label.append(name, input, chosen);
  return {
    label,
    get: () => Number(input[property]),
    set: place => { input[property] = described.kind === "check" ? Boolean(place) : place; tell(); },
  };
}

function panel(box, number) {
  const {controls, states, parts, combinations} = JSON.parse(box.firstElementChild.textContent);
  const row = box.appendChild(document.createElement("div")), output = box.appendChild(document.createElement("figure"));
  row.className = "controls";
  box.id = `panel-${number}`;
  const state = () => inputs.reduce((place, input, n) => place * controls[n].values.length + input.get(), 0);
  const draw = () => {
    const {figure, html, text} = states[state()];
    if (figure) {
      if (!output.querySelector(":scope > .js-plotly-plot")) output.replaceChildren();  // text of another state
      return show(output, () => whole(figure, parts));
    }
    drawn.delete(output);
    if (html !== undefined) output.innerHTML = whole(html, parts);
    else output.replaceChildren(Object.assign(document.createElement("pre"), {textContent: whole(text, parts)}));
  };
  const inputs = controls.map(described => control(described, () => {
    draw();
    try { history.replaceState(null, "", `?panel=${number}&state=${state()}`); } catch { /* some browsers refuse it for files */ }
  }));
  const place = index => controls.reduceRight((rest, described, n) => {
    inputs[n].set(rest % described.values.length);
    return Math.floor(rest / described.values.length);
  }, index);
  place(controls.reduce((index, described) => index * described.values.length + described.start, 0));
  row.append(...inputs.map(input => input.label));
  if (states.length < combinations) {
    const note = `${states.length} of ${combinations} settings; the live notebook has all.`;
    box.append(Object.assign(document.createElement("small"), {textContent: note}));
  }
  const asked = new URLSearchParams(location.search);
  if (Number(asked.get("panel") ?? -1) === number && states[asked.get("state")]) {
    place(Number(asked.get("state")));
    box.scrollIntoView();
  }
  return draw;
}

document.addEventListener("DOMContentLoaded", () => {
  const later = new Map();  // element -> how to draw it, as soon as it is near the window
  document.querySelectorAll("figure.plot").forEach(box => {
    const figure = JSON.parse(box.firstElementChild.textContent);
    box.style.minHeight = `${figure.layout?.height || 450}px`;
    later.set(box, () => { box.style.minHeight = ""; return show(box, () => whole(figure, [])); });
  });
  document.querySelectorAll("section.panel").forEach((box, number) => later.set(box, panel(box, number)));
  const near = new IntersectionObserver(entries => entries.filter(entry => entry.isIntersecting).forEach(entry => {
    near.unobserve(entry.target);
    later.get(entry.target)();
  }), {rootMargin: "800px"});
  later.forEach((_, box) => near.observe(box));
  addEventListener("beforeprint", () => later.forEach(draw => draw()));

  let width = innerWidth, timer;
  addEventListener("resize", () => {
    clearTimeout(timer);
    if (innerWidth !== width) timer = setTimeout(() => { width = innerWidth; drawn.forEach((make, box) => show(box, make)); }, 150);
  });
  const wide = matchMedia("(min-width: 1000px)").matches, contents = document.querySelector("details.toc");
  if (contents) contents.open = wide;
  document.querySelector("button.fold")?.addEventListener("click", event => {
    const blocks = [...document.querySelectorAll("details.code")], open = !blocks.some(block => block.open);
    blocks.forEach(block => { block.open = open; });
    event.target.textContent = open ? "Hide all code" : "Show all code";
  });
});

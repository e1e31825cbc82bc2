"use strict";
/* The timeline: draws the strips, thins what lies in view to what the screen can show, and keeps the slider, the video
   and the buttons at one moment. Names come from a sidecar: they are set as text, or escaped where Plotly would take
   them for markup. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (name) => document.getElementById(name);
  const plot = byId("plot"), slider = byId("frame"), readout = byId("readout"), video = byId("video");
  const unpack = (packed) => packed.values.map((value) => (value === null ? null : value * packed.unit));
  const times = unpack(data.times), frames = unpack(data.frames);
  const columns = Object.fromEntries(Object.entries(data.columns).map(([name, packed]) => [name, unpack(packed)]));
  const count = times.length;
  const MOST_POINTS = 1600;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)"); // there a drag has to scroll the page; the buttons zoom
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let place = 0, view = 0, range = null, touched = false;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const step = count > 1 ? (times[count - 1] - times[0]) / (count - 1) : 0.04;
  const whole = () => [times[0] - step / 2, times[count - 1] + step / 2];

  // First point at or after a time.
  const search = (seconds) => {
    let low = 0, high = count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] < seconds) low = middle + 1; else high = middle;
    }
    return low;
  };
  const nearest = (seconds) => {
    const after = Math.min(search(seconds), count - 1), before = Math.max(after - 1, 0);
    return seconds - times[before] <= times[after] - seconds ? before : after;
  };
  const clock = (seconds) => {
    const total = Math.round(Math.abs(seconds) * 1000), rest = total % 60000, sign = seconds < 0 ? "-" : "";
    const hours = Math.floor(total / 3600000), minutes = Math.floor(total / 60000) % 60;
    const padded = (number, digits) => String(number).padStart(digits, "0");
    const before = hours ? `${hours}:${padded(minutes, 2)}` : minutes;
    return `${sign}${before}:${padded(Math.floor(rest / 1000), 2)}.${padded(rest % 1000, 3)}`;
  };

  // Places in view that a line has to pass: all of them, or the lowest and the highest of each group.
  const placesInView = (values) => {
    const [start, end] = range || whole();
    const first = Math.max(search(start) - 1, 0), last = Math.min(search(end) + 1, count);
    const group = Math.max(1, Math.ceil((2 * (last - first)) / MOST_POINTS));
    const places = [];
    for (let from = first; from < last; from += group) {
      let low = -1, high = -1;
      for (let at = from; at < Math.min(from + group, last); at += 1) {
        if (values[at] === null) continue;
        if (low < 0 || values[at] < values[low]) low = at;
        if (high < 0 || values[at] > values[high]) high = at;
      }
      if (low < 0) places.push(from);
      else if (low === high) places.push(low);
      else places.push(Math.min(low, high), Math.max(low, high));
    }
    return places;
  };

  const axis = (number) => (number ? String(number + 1) : "");
  const shownLines = (strip, number) => strip.views[number === 0 ? Math.min(view, strip.views.length - 1) : 0].lines;

  const traces = (legends = new Set()) => data.strips.flatMap((strip, number) => shownLines(strip, number).flatMap((line) => {
    const values = columns[line.column], ink = colour(`--line-${line.colour % 8}`);
    const at = placesInView(values);
    const common = {
      type: "scatter", mode: at.length === 1 ? "markers" : "lines", x: at.map((one) => times[one]),
      customdata: at.map((one) => frames[one]), xaxis: "x", yaxis: `y${axis(number)}`, connectgaps: false,
      showlegend: !legends.has(line.group), name: escaped(line.label), legendgroup: line.group,
    };
    legends.add(line.group);
    if (line.base) {
      const quiet = { ...common, hoverinfo: "skip", line: { width: 0 } };
      return [
        { ...quiet, y: at.map((one) => columns[line.base][one]), showlegend: false },
        { ...quiet, y: at.map((one) => values[one]), fill: "tonexty", fillcolor: dark.matches ? "rgba(160,170,185,0.22)" : "rgba(90,100,115,0.16)" },
      ];
    }
    return [{
      ...common, y: at.map((one) => values[one]), marker: { color: ink, size: 8 },
      line: { color: ink, width: line.colour === 0 ? 2 : 1.6,
        dash: ["solid", "dot", "dash"][Math.floor(line.colour / 8) % 3] },
      hovertemplate: `%{y:.3f}<extra>${escaped(line.label)}</extra>`,
    }];
  })).concat(data.failures.map((one, number) => ({
    type: "scatter", mode: "markers", x: one.times, y: one.times.map(() => 0.02 + 0.06 * number), xaxis: "x", yaxis: "y",
    name: escaped(one.label), marker: { color: colour("--alert"), symbol: number ? "cross" : "x", size: 8 },
    hovertemplate: `${escaped(one.label)}<extra></extra>`,
  })));

  const shapes = () => data.broken.map(([start, end]) => ({
    type: "rect", xref: "x", yref: "paper", x0: start - step / 2, x1: end + step / 2, y0: 0, y1: 1, line: { width: 0 },
    fillcolor: colour("--break"), layer: "below",
  })).concat([{
    type: "line", xref: "x", yref: "paper", x0: times[place], x1: times[place], y0: 0, y1: 1,
    line: { color: colour("--accent"), width: 2 },
  }]);

  const layout = () => {
    const narrow = plot.clientWidth < 600;
    const total = data.strips.reduce((sum, strip) => sum + strip.weight, 0);
    const gap = narrow ? 0.07 : 0.06, free = 1 - gap * (data.strips.length - 1);
    const grid = { gridcolor: colour("--rule"), zerolinecolor: colour("--rule"), linecolor: colour("--rule") };
    const made = {
      height: 130 + (narrow ? 75 : 88) * total, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: narrow ? 34 : 44, r: 10, t: 24, b: 38 }, font: { color: colour("--ink"), size: narrow ? 11 : 13,
        family: getComputedStyle(document.body).fontFamily },
      annotations: [], hovermode: "x unified", hoverdistance: -1, dragmode: touch.matches ? false : "zoom", shapes: shapes(),
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--rule"), font: { color: colour("--ink") } },
      legend: { orientation: "h", x: 0, y: -0.14, yanchor: "top" }, showlegend: true,
      xaxis: { ...grid, range: range || whole(), title: { text: "seconds", standoff: 4 }, anchor: `y${axis(data.strips.length - 1)}`,
        hoverformat: ".3f", unifiedhovertitle: { text: "%{x:.3f} s" }, minallowed: whole()[0], maxallowed: whole()[1] },
    };
    let top = 1;
    data.strips.forEach((strip, number) => {
      const height = (free * strip.weight) / total;
      const lowest = strip.share && shownLines(strip, number).every((line) => (columns[line.column] || []).every((v) => v === null || v >= 0));
      made[`yaxis${axis(number)}`] = {
        ...grid, domain: [Math.max(top - height, 0), top], fixedrange: true,
        nticks: number ? 4 : 6, automargin: false, ...(lowest ? { range: [-0.02, 1.04] } : { rangemode: "tozero" }),
      };
      made.annotations.push({ xref: "paper", yref: "paper", x: 0, y: top, xanchor: "left", yanchor: "bottom",
        showarrow: false, text: escaped(strip.title), font: { size: narrow ? 11 : 13, color: colour("--quiet") } });
      top -= height + gap;
    });
    return made;
  };

  let drawing = false;
  const draw = async () => {
    if (!data.strips.length) return;
    drawing = true;
    await Plotly.react(plot, traces(), layout(), { displayModeBar: false, responsive: true, doubleClick: false });
    drawing = false;
  };

  // What the slider points at: a moment, and the lines' values there.
  const describe = () => {
    const element = (name, text) => Object.assign(document.createElement(name), { textContent: text });
    readout.replaceChildren(element("strong", `Frame ${frames[place]}, ${clock(times[place])}`));
    data.strips.forEach((strip, number) => shownLines(strip, number).forEach((line) => {
      if (line.base || (number && line.column.includes("/") && data.strips[0].views.length > 1)) return;
      const value = columns[line.column][place];
      const name = strip.named ? line.label : line.group === "whole frame" ? strip.title : `${strip.title}, ${line.label}`;
      const item = element("span", `${name} ${value === null ? "not measured" : value.toFixed(3)}`);
      const swatch = document.createElement("i");
      swatch.style.background = `var(--line-${line.colour % 8})`;
      item.prepend(swatch);
      readout.append(item);
    }));
  };

  // Some players count from the first frame, some on the input's own clock: the duration tells which.
  const videoOffset = () => {
    const span = times[count - 1] - times[0] + step;
    return Math.abs(video.duration - span) <= Math.abs(video.duration - (span + times[0])) ? times[0] : 0;
  };
  const seek = () => {
    if (!video || !Number.isFinite(video.duration)) return;
    // Half a frame in, so that rounding never shows the frame before.
    video.currentTime = Math.max(0, Math.min(video.duration, times[place] - videoOffset() + Math.min(step, 0.04) / 4));
  };

  const show = ({ moveVideo = true } = {}) => {
    slider.value = String(place);
    const first = shownLines(data.strips[0], 0).find((line) => !line.base), score = columns[first.column][place];
    const said = score === null ? "not measured" : score.toFixed(3);
    slider.setAttribute("aria-valuetext", `Frame ${frames[place]}, ${clock(times[place])}, ${first.label} ${said}`);
    describe();
    Plotly.relayout(plot, { [`shapes[${data.broken.length}].x0`]: times[place], [`shapes[${data.broken.length}].x1`]: times[place] });
    if (moveVideo) { touched = true; seek(); }
  };
  const goTo = (seconds, options) => { place = nearest(seconds); show(options); };
  const move = (by) => { place = Math.min(Math.max(place + by, 0), count - 1); keepInView(); show(); };
  const keepInView = () => {
    if (!range || (times[place] >= range[0] && times[place] <= range[1])) return;
    const half = (range[1] - range[0]) / 2;
    zoomTo([times[place] - half, times[place] + half]);
  };
  const zoomTo = (wanted) => {
    const all = whole();
    if (wanted) {
      const span = Math.max(Math.min(wanted[1] - wanted[0], all[1] - all[0]), 6 * step);
      const start = Math.min(Math.max((wanted[0] + wanted[1] - span) / 2, all[0]), all[1] - span);
      wanted = [start, start + span];
    }
    range = wanted && wanted[1] - wanted[0] < all[1] - all[0] - step / 4 ? wanted : null;
    return draw();
  };
  const zoomBy = (factor) => {
    const [start, end] = range || whole(), half = ((end - start) * factor) / 2;
    return zoomTo([times[place] - half, times[place] + half]);
  };

  const connect = () => {
    slider.max = String(count - 1);
    slider.addEventListener("input", () => { place = Number(slider.value); keepInView(); show(); });
    byId("previous").addEventListener("click", () => move(-1));
    byId("next").addEventListener("click", () => move(1));
    byId("zoom-in").addEventListener("click", () => zoomBy(0.4));
    byId("zoom-out").addEventListener("click", () => zoomBy(2.5));
    byId("zoom-all").addEventListener("click", () => zoomTo(null));
    document.querySelectorAll(".jump").forEach((button) => button.addEventListener("click", () => {
      const start = Number(button.dataset.start), end = Number(button.dataset.end);
      goTo(Number(button.dataset.time));
      if (button.dataset.start !== undefined) zoomTo([start - (end - start + 24 * step), end + (end - start + 24 * step)]);
      else keepInView();
      byId("timeline").scrollIntoView({ behavior: still.matches ? "auto" : "smooth" });
    }));
    const views = data.strips.length ? data.strips[0].views : [];
    if (views.length > 1) {
      byId("view-label").hidden = false;
      views.forEach((one, number) => byId("view").add(new Option(one.label, String(number))));
      byId("view").addEventListener("change", (event) => { view = Number(event.target.value); draw().then(() => show({ moveVideo: false })); });
    }
    plot.on("plotly_click", (event) => goTo(event.points[0].x));
    plot.on("plotly_doubleclick", () => { zoomTo(null); });
    plot.on("plotly_relayout", (change) => {
      if (drawing || change["xaxis.range[0]"] === undefined) return;
      zoomTo([change["xaxis.range[0]"], change["xaxis.range[1]"]]);
    });
    dark.addEventListener("change", draw);
    addEventListener("resize", draw);
    if (video) {
      // The player's own controls would cover the foot of the picture, where frame and time stand; the slider is ours.
      const play = byId("play"), wide = byId("full-screen");
      video.controls = false;
      play.hidden = false;
      wide.hidden = !video.requestFullscreen;
      const toggle = () => { if (video.paused) video.play().catch(() => {}); else video.pause(); };
      const name = () => { play.textContent = video.paused ? "Play" : "Pause"; };
      play.addEventListener("click", toggle);
      video.addEventListener("click", toggle);
      ["play", "pause", "ended"].forEach((one) => video.addEventListener(one, name));
      wide.addEventListener("click", () => video.requestFullscreen());
      document.addEventListener("fullscreenchange", () => { video.controls = document.fullscreenElement === video; });
      // It begins where the timeline does, unless its reader was faster.
      video.addEventListener("loadedmetadata", () => { if (!touched) seek(); });
      if (video.readyState >= 1) seek();
      video.addEventListener("error", () => { byId("video-problem").hidden = false; });
      if (video.error) byId("video-problem").hidden = false;
      video.addEventListener("timeupdate", () => {
        if (!video.paused && !video.seeking) goTo(video.currentTime + videoOffset(), { moveVideo: false });
      });
    }
  };

  const note = byId("timeline-note");
  if (!count || !data.strips.length) {
    note.textContent = "There is no number to draw.";
    document.querySelectorAll(".controls, .scrub").forEach((one) => { one.hidden = true; });
    return;
  }
  note.textContent = "Drag to zoom, click to go to a moment; shaded where the match breaks."
    + (data.binFrames > 1 ? ` Each two points are the extremes of ${data.binFrames} frames.` : "");
  if (!data.broken.length) note.textContent = note.textContent.replace("; shaded where the match breaks", "");
  place = nearest(data.start);
  draw().then(() => { connect(); show({ moveVideo: false }); document.documentElement.dataset.ready = "true"; });
})();

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
  const together = data.binFrames > 1 ? 2 : 1; // points of one group of frames
  let place = 0, at = 0, view = "", range = null;

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
  // Where the frame begins that is shown at a time; of a group of frames nothing is known but where it begins.
  const holding = (seconds) => Math.max(search(seconds + step / 100) - 1, 0) & (together > 1 ? ~1 : ~0);
  const nearest = (seconds) => {
    if (together > 1) return holding(seconds);
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
  const viewOf = (strip) => strip.views.find((one) => one.label === view) || strip.views[0];
  const shownLines = (strip) => viewOf(strip).lines;
  // A strip that has nothing of what is chosen shows something else, and says so; without a name it has no views.
  const elsewhere = (strip) => {
    const { label } = viewOf(strip);
    return label && label !== viewOf(data.strips[0]).label ? `, ${label}` : "";
  };

  const traces = (legends = new Set()) => data.strips.flatMap((strip, number) => shownLines(strip).flatMap((line) => {
    const values = columns[line.column], ink = colour(`--line-${line.colour % 8}`);
    const places = placesInView(values);
    const common = {
      type: "scatter", mode: places.length === 1 ? "markers" : "lines", x: places.map((one) => times[one]),
      customdata: places.map((one) => frames[one]), xaxis: "x", yaxis: `y${axis(number)}`, connectgaps: false,
      showlegend: !legends.has(line.group), name: escaped(line.label), legendgroup: line.group,
    };
    legends.add(line.group);
    if (line.base) {
      const quiet = { ...common, hoverinfo: "skip", line: { width: 0 } };
      return [
        { ...quiet, y: places.map((one) => columns[line.base][one]), showlegend: false },
        { ...quiet, y: places.map((one) => values[one]), fill: "tonexty", fillcolor: dark.matches ? "rgba(160,170,185,0.22)" : "rgba(90,100,115,0.16)" },
      ];
    }
    return [{
      ...common, y: places.map((one) => values[one]), marker: { color: ink, size: 8 },
      line: { color: ink, width: line.colour === 0 ? 2 : 1.6,
        dash: ["solid", "dot", "dash"][Math.floor(line.colour / 8) % 3] },
      hovertemplate: `%{y:.3f}<extra>${escaped(line.label)}</extra>`,
    }];
  })).concat(data.marks.map((one, number) => ({
    type: "scatter", mode: "markers", x: one.times, y: one.times.map(() => 0.02 + 0.06 * number), xaxis: "x", yaxis: "y",
    name: escaped(one.label), marker: one.damaged
      ? { color: colour("--quiet"), symbol: "square-open", size: 8 } : { color: colour("--alert"), symbol: number ? "cross" : "x", size: 8 },
    hovertemplate: `${escaped(one.label)}<extra></extra>`,
  })));

  const shapes = () => data.broken.map(([start, end]) => ({
    type: "rect", xref: "x", yref: "paper", x0: start - step / 2, x1: end + step / 2, y0: 0, y1: 1, line: { width: 0 },
    fillcolor: colour("--break"), layer: "below",
  })).concat([{
    type: "line", xref: "x", yref: "paper", x0: at, x1: at, y0: 0, y1: 1,
    line: { color: colour("--accent"), width: 2 },
  }]);

  const layout = () => {
    const narrow = plot.clientWidth < 600;
    const total = data.strips.reduce((sum, strip) => sum + strip.weight, 0);
    const gap = narrow ? 0.07 : 0.06, free = 1 - gap * (data.strips.length - 1);
    const grid = { gridcolor: colour("--rule"), zerolinecolor: colour("--rule"), linecolor: colour("--rule") };
    const made = {
      height: narrow ? 130 + 75 * total : Math.max(340, Math.min(130 + 88 * total, 0.48 * innerHeight)), paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
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
      const lowest = strip.share && shownLines(strip).every((line) => (columns[line.column] || []).every((v) => v === null || v >= 0));
      made[`yaxis${axis(number)}`] = {
        ...grid, domain: [Math.max(top - height, 0), top], fixedrange: true,
        nticks: number ? 4 : 6, automargin: false, ...(lowest ? { range: [-0.02, 1.04] } : { rangemode: "tozero" }),
      };
      made.annotations.push({ xref: "paper", yref: "paper", x: 0, y: top, xanchor: "left", yanchor: "bottom",
        showarrow: false, text: escaped(strip.title + elsewhere(strip)), font: { size: narrow ? 11 : 13, color: colour("--quiet") } });
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
  const titled = (strip, line) => (strip.named ? line.label
    : line.group === "whole frame" ? strip.title : `${strip.title}, ${line.label}`) + elsewhere(strip);
  const valueOf = (line) => {
    const values = columns[line.column].slice(place, place + together).filter((one) => one !== null).sort((a, b) => a - b);
    if (!values.length) return "not measured";
    const [low, high] = [values[0].toFixed(3), values[values.length - 1].toFixed(3)];
    return low === high ? low : `${low} to ${high}`;
  };
  const moment = () => {
    // The last group may be a smaller one.
    const size = together > 1 ? Math.min(data.binFrames, data.nFrames - (place / together) * data.binFrames) : 1;
    const name = size > 1 ? `${size} frames from ${frames[place]} on` : `Frame ${frames[place]}`;
    return `${name}, ${clock(times[place])}`;
  };
  const describe = () => {
    const element = (name, text) => Object.assign(document.createElement(name), { textContent: text });
    readout.replaceChildren(element("strong", moment()));
    data.strips.forEach((strip, number) => shownLines(strip).forEach((line) => {
      if (line.base || (number && line.group.startsWith("region "))) return; // of regions the first strip says enough
      const item = element("span", `${titled(strip, line)} ${valueOf(line)}`);
      const swatch = document.createElement("i");
      swatch.style.background = `var(--line-${line.colour % 8})`;
      item.prepend(swatch);
      readout.append(item);
    }));
  };

  /* The player's clock is learnt from the first frame that it shows, before anything is sought: some count from there,
     some on the input's own clock. A player may not know yet how long the video is, and then stops short of the end of
     what it knows: what is wanted is sought again when it knows more. */
  let offset = null, wanted = null, following = false, shownAt = null;
  // A little into the frame, so that rounding never shows the one before.
  const goal = () => Math.max(0, wanted - offset + Math.min(step / together, 0.04) / 4);
  const reached = () => Math.abs(video.currentTime - goal()) < 1e-3;
  const reach = () => {
    if (offset === null || wanted === null) return;
    if (!reached()) video.currentTime = goal(); else if (!video.seeking) wanted = null;
  };
  const seek = () => {
    if (!video) return;
    following = !video.paused;
    wanted = at;
    reach();
  };
  const learn = (first) => {
    if (offset !== null) return;
    offset = times[0] - first;
    reach();
  };

  const show = ({ moveVideo = true } = {}) => {
    slider.value = String(place);
    const line = shownLines(data.strips[0]).find((one) => !one.base);
    slider.setAttribute("aria-valuetext", `${moment()}, ${titled(data.strips[0], line)} ${valueOf(line)}`);
    describe();
    Plotly.relayout(plot, { [`shapes[${data.broken.length}].x0`]: at, [`shapes[${data.broken.length}].x1`]: at });
    if (moveVideo) seek();
  };
  const goTo = (seconds, options) => { place = nearest(seconds); at = together > 1 ? seconds : times[place]; show(options); };
  const move = (by) => {
    place = Math.min(Math.max(place + by * together, 0), count - together);
    at = times[place];
    keepInView();
    show();
  };
  const keepInView = () => {
    if (!range || (at >= range[0] && at <= range[1])) return;
    const half = (range[1] - range[0]) / 2;
    zoomTo([at - half, at + half]);
  };
  const zoomTo = (given) => {
    const all = whole();
    if (given) {
      const span = Math.max(Math.min(given[1] - given[0], all[1] - all[0]), 6 * step);
      const start = Math.min(Math.max((given[0] + given[1] - span) / 2, all[0]), all[1] - span);
      given = [start, start + span];
    }
    range = given && given[1] - given[0] < all[1] - all[0] - step / 4 ? given : null;
    return draw();
  };
  const zoomBy = (factor) => {
    const [start, end] = range || whole(), half = ((end - start) * factor) / 2;
    return zoomTo([at - half, at + half]);
  };

  // The timeline follows what is seen while the video plays.
  const pull = () => {
    if (following && !video.paused && !video.seeking && shownAt !== null) goTo(shownAt + offset, { moveVideo: false });
  };
  /* Where it stops, players do not always tell of the last frame that they show: the one on their clock is named, and
     sought, so that it is the one that is seen. At the end it is the last in any case, and to seek would undo the end. */
  const stop = () => {
    if (offset === null || video.seeking) return;
    const seconds = video.currentTime + offset;
    following = false;
    place = holding(seconds);
    at = together > 1 ? seconds : times[place];
    show({ moveVideo: !video.ended && wanted === null });
  };
  const follow = () => {
    if (video.requestVideoFrameCallback) {
      let last = 0;
      const seen = (now, frame) => {
        learn(frame.mediaTime);
        shownAt = frame.mediaTime;
        if (now - last > 90) { last = now; pull(); } // drawing for every frame would make it stutter
        video.requestVideoFrameCallback(seen);
      };
      video.requestVideoFrameCallback(seen);
    } else {
      video.addEventListener("timeupdate", () => { shownAt = video.currentTime - step / 2; pull(); });
    }
    // A frame that was shown before this script ran is told by the clock, which has not moved yet.
    const told = () => { if (video.readyState >= 2) learn(video.currentTime); };
    if (video.readyState >= 2) told(); else video.addEventListener("loadeddata", () => setTimeout(told, 400));
    video.addEventListener("play", told);
    video.addEventListener("durationchange", reach);
    video.addEventListener("seeked", () => {
      if (wanted === null) { if (video.paused) stop(); } // sought by the player's own buttons
      else if (reached() || !video.paused) wanted = null;
    });
    video.addEventListener("play", () => { following = true; wanted = null; });
    ["pause", "ended"].forEach((one) => video.addEventListener(one, stop));
  };

  const connect = () => {
    slider.max = String(count - 1);
    slider.step = String(together);
    slider.addEventListener("input", () => { place = Number(slider.value); at = times[place]; keepInView(); show(); });
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
      views.forEach((one) => byId("view").add(new Option(one.label, one.label)));
      byId("view").addEventListener("change", (event) => { view = event.target.value; draw().then(() => show({ moveVideo: false })); });
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
      video.addEventListener("error", () => { byId("video-problem").hidden = false; });
      if (video.error) byId("video-problem").hidden = false;
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
  at = together > 1 ? data.start : times[place];
  if (video) follow();
  draw().then(() => { connect(); show(); document.documentElement.dataset.ready = "true"; });
})();

// Replaces each static image by an interactive plotly scene in the page's colours. Without WebGL or gzip the image stays.
(async () => {
  if (!document.createElement("canvas").getContext("webgl") || !window.DecompressionStream) return;
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (letter) => letter.charCodeAt(0));
  const library = document.createElement("script");
  library.textContent = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  document.head.append(library);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    const [ink, rule] = ["--ink", "--rule"].map((name) => style.getPropertyValue(name).trim());
    for (const figure of document.querySelectorAll("figure.scene3d")) {
      const { traces, axes } = JSON.parse(figure.querySelector("script").textContent);
      const look = { gridcolor: rule, zerolinecolor: rule, linecolor: rule, showspikes: false };
      const scene = { aspectmode: "manual", aspectratio: { x: 1, y: 1, z: 0.8 }, camera: { eye: { x: 1.3, y: -1.8, z: 0.85 }, center: { x: 0.04, y: 0, z: -0.1 } } };
      for (const [name, axis] of Object.entries(axes)) scene[name] = { ...look, ...axis };
      const layout = {
        scene, margin: { l: 0, r: 0, t: 0, b: 0 }, paper_bgcolor: "rgba(0,0,0,0)", legend: { x: 0, y: 1 },
        font: { family: style.getPropertyValue("--font"), size: 12, color: ink },
      };
      for (const stems of traces.filter((trace) => trace.mode === "lines")) stems.line.color = rule;
      figure.classList.add("live");
      // The wheel scrolls the page, not the scene.
      Plotly.react(figure.querySelector(".interactive"), traces, layout, { responsive: true, displayModeBar: false, scrollZoom: false });
    }
  };
  dark.addEventListener("change", draw);
  draw();
})();

// Draws the figure `vesselTree` and turns it with the keyboard; plotly turns it with the mouse.
(() => {
  const box = document.getElementById("vessel-tree");
  const drawing = box.querySelector(".drawing");
  const show = (...names) => names.forEach((name) => { box.querySelector(name).hidden = false; });
  if (!document.createElement("canvas").getContext("webgl")) { show(".failed"); return; }
  show(".controls", ".drawing", ".hint");

  const wide = drawing.clientWidth / drawing.clientHeight;
  const near = Math.min(1.1, Math.max(0.8, 1 / wide)); // a wide drawing has room at its sides

  const look = (eye) => Plotly.relayout(drawing, { "scene.camera.eye": eye });
  const turn = (degrees, upwards, scale) => {
    const { x, y, z } = drawing.layout.scene.camera.eye;
    const distance = Math.hypot(x, y, z) * scale;
    const around = Math.atan2(y, x) + degrees * Math.PI / 180;
    const steepest = 89 * Math.PI / 180; // straight from above, nothing says where up is
    const height = Math.asin(z / Math.hypot(x, y, z)) + upwards * Math.PI / 180;
    const up = Math.min(steepest, Math.max(-steepest, height));
    const across = distance * Math.cos(up);
    look({ x: across * Math.cos(around), y: across * Math.sin(around), z: distance * Math.sin(up) });
  };
  const keys = {
    ArrowLeft: [-10, 0, 1], ArrowRight: [10, 0, 1], ArrowUp: [0, 10, 1], ArrowDown: [0, -10, 1],
    "+": [0, 0, 0.8], "=": [0, 0, 0.8], "-": [0, 0, 1.25],
  };
  drawing.addEventListener("keydown", (event) => {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    turn(...keys[event.key]);
  });
  box.querySelectorAll("[data-eye]").forEach((button) => button.addEventListener("click", () => {
    const [x, y, z] = button.dataset.eye.split(",").map((part) => near * Number(part));
    Plotly.relayout(drawing, { "scene.camera": { eye: { x, y, z }, up: { x: 0, y: 0, z: 1 }, center: { x: 0, y: 0, z: 0 } } });
  }));
  box.querySelectorAll("[data-closer]").forEach((button) =>
    button.addEventListener("click", () => turn(0, 0, Number(button.dataset.closer))));
  box.querySelectorAll("[data-part]").forEach((choice) =>
    choice.addEventListener("change", () => Plotly.restyle(drawing, { visible: choice.checked }, [Number(choice.dataset.part)])));

  Object.entries(vesselTree.layout.scene.camera.eye).forEach(([axis, part]) => { vesselTree.layout.scene.camera.eye[axis] = near * part; });
  Plotly.newPlot(drawing, vesselTree.data, vesselTree.layout, { responsive: true, displayModeBar: false, scrollZoom: false });
})();

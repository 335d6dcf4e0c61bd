// Enlarge a picture on a click or Enter; arrows move on, Esc or a click closes.
{
  const images = [...document.querySelectorAll("main img.enlarges")];
  const dialog = document.createElement("dialog");
  dialog.className = "enlarged";
  dialog.ariaLabel = "Enlarged picture";
  const shown = document.createElement("img");
  const words = document.createElement("p");
  const [before, close, after] = [["\u2190", "Picture before"], ["Close", "Close"], ["\u2192", "Next picture"]].map(([text, label]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.ariaLabel = label;
    return button;
  });
  const bar = document.createElement("div");
  bar.append(before, close, after);
  dialog.append(shown, words, bar);
  document.body.append(dialog);
  let at = 0;
  // What lies in a closed section is passed over.
  const visible = () => images.filter((image) => !image.closest("details:not([open])"));
  const show = (image) => {
    at = images.indexOf(image);
    shown.src = image.src;
    shown.alt = image.alt;
    shown.className = image.className.replace("enlarges", "");
    words.textContent = image.dataset.words ?? image.alt;
    // As large as the window has room for; a small picture in whole multiples of its pixels.
    const room = Math.min((innerWidth * 0.94) / image.naturalWidth, (innerHeight * 0.78) / image.naturalHeight);
    const scale = room > 2 ? Math.floor(Math.min(room, 12)) : room;
    shown.style.width = `${image.naturalWidth * scale}px`;
    shown.classList.toggle("crisp", scale >= 2);
  };
  const move = (step) => {
    const all = visible();
    show(all[(all.indexOf(images[at]) + step + all.length) % all.length]);
  };
  for (const image of images) {
    image.tabIndex = 0;
    image.role = "button";
    image.ariaLabel = `Enlarge: ${image.alt}`;
    const open = () => {
      show(image);
      dialog.showModal();
    };
    image.addEventListener("click", open);
    image.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      open();
    });
  }
  before.addEventListener("click", () => move(-1));
  after.addEventListener("click", () => move(1));
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target === shown) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") move(-1);
    if (event.key === "ArrowRight") move(1);
  });
}

// One of several pictures at a time: the slider says which.
for (const figure of document.querySelectorAll(".stages")) {
  const input = figure.querySelector("input");
  const stages = [...figure.querySelectorAll(".stage")];
  const show = () => {
    stages.forEach((stage, number) => stage.classList.toggle("now", number === input.valueAsNumber));
    const words = stages[input.valueAsNumber].dataset.words;
    figure.querySelector("output").textContent = words;
    input.setAttribute("aria-valuetext", words);
  };
  input.addEventListener("input", show);
  figure.classList.add("one");
  figure.querySelector(".tools").hidden = false;
  show();
}

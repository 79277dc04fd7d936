import { InternVL } from "internvl-webgpu";

const form = document.querySelector("form");
const [button, status] = [form.querySelector("button"), form.querySelector("output")];
const model = new URLSearchParams(location.search).get("model") ?? "OpenGVLab/InternVL2_5-1B";

function line(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  document.querySelector("#log").append(element);
  return element;
}

try {
  const onProgress = ({ phase, loaded, total }) => {
    status.textContent = `${phase} ${Math.floor((100 * loaded) / total)} %`;
  };
  const vlm = await InternVL.load(model, { worker: true, onProgress });
  const session = vlm.session();
  status.textContent = `Ready, on ${vlm.adapter}.`;
  button.disabled = false;

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { question, images } = form.elements;
    const reply = session.send(question.value, { images: [...images.files] });
    line("dt", question.value);
    const answer = line("dd", "");
    form.reset();
    button.disabled = true;
    try {
      for await (const piece of reply) answer.append(piece);
    } catch (error) {
      answer.append(`${error.message} ${error.hint ?? ""}`);
    }
    button.disabled = false;
  });
} catch (error) {
  status.textContent = `${error.message} ${error.hint ?? ""}`;
}

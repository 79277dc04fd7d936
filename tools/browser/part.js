// Stands before the code of the model's worker, whose own import() cannot find a file beside it: the page is asked for the part's address.
const asked = new Map();

globalThis.internvlPart = (name) => {
  if (!asked.has(name)) {
    const answer = {};
    answer.url = new Promise((resolve, reject) => Object.assign(answer, { resolve, reject }));
    asked.set(name, answer);
    postMessage({ part: name });
  }
  return asked.get(name).url.then((url) => import(url));
};

addEventListener("message", (event) => {
  const { part, url, error } = event.data;
  if (part === undefined) return;
  event.stopImmediatePropagation();
  if (url) return asked.get(part).resolve(url);
  asked.get(part).reject(new Error(`a part of internvl-webgpu did not load: ${error}`));
  asked.delete(part);
});

import { InternVL } from "internvl-webgpu";
import { StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

// What is alive, for the test: devices of the page, and workers.
const alive = { devices: 0, workers: 0, loads: 0 };
const { requestDevice } = GPUAdapter.prototype;
GPUAdapter.prototype.requestDevice = async function (...args) {
  const device = await requestDevice.apply(this, args);
  alive.devices++;
  device.lost.then(() => alive.devices--);
  return device;
};
const { load } = InternVL;
InternVL.load = (...args) => {
  alive.loads++;
  return load.apply(InternVL, args);
};
globalThis.Worker = class extends Worker {
  constructor(...args) {
    super(...args);
    alive.workers++;
  }
  terminate() {
    super.terminate();
    alive.workers--;
  }
};

/** A model as long as the component is there. StrictMode mounts twice: the first load is aborted at once. */
function useInternVL(source, worker) {
  const [vlm, setVlm] = useState();
  useEffect(() => {
    const abort = new AbortController();
    const loading = InternVL.load(source, { worker, signal: abort.signal });
    loading.then(setVlm, (error) => abort.signal.aborted || console.error(error));
    return () => {
      abort.abort();
      loading.then((vlm) => vlm.dispose()).catch(() => {});
    };
  }, [source, worker]);
  return vlm;
}

const NANO = new URL("/nano", location.href).href;

function Answer({ worker, onText }) {
  const vlm = useInternVL(NANO, worker);
  useEffect(() => {
    if (!vlm) return;
    const abort = new AbortController();
    const ask = async () => {
      const images = [await (await fetch("/nano/images/card-1.png")).blob()];
      return (await vlm.chat("What shape is it?", { images, signal: abort.signal })).text;
    };
    ask().then(onText, (error) => abort.signal.aborted || onText(String(error)));
    return () => abort.abort();
  }, [vlm, onText]);
  return <p>{vlm ? "Ready." : "Loading …"}</p>;
}

function App() {
  const [answers, setAnswers] = useState([]);
  const [onText] = useState(() => (text) => setAnswers((all) => [...all, text]));
  useEffect(() => {
    if (answers.length < 2) return;
    const look = setInterval(() => {
      if (alive.devices + alive.workers > 0) return;
      clearInterval(look);
      document.title = JSON.stringify({ page: answers[0], worker: answers[1], ...alive });
    }, 50);
    return () => clearInterval(look);
  }, [answers]);
  return answers.length < 2 && <Answer key={answers.length} worker={answers.length === 1} onText={onText} />;
}

createRoot(document.getElementById("root")).render(
  <StrictMode>
    <App />
  </StrictMode>,
);

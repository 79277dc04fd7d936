// Read before a program begins (`--import`): what it writes to files waits for a signal behind the first piece, so that there is a half-way at which
// it can be interrupted, on the quickest machine and the busiest.
import { open } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const signalled = new Promise((resolve) => {
  const alive = setInterval(() => {}, 1000); // a promise alone lets the process end
  for (const name of ["SIGINT", "SIGTERM"]) process.once(name, () => resolve(clearInterval(alive)));
});

const own = await open(fileURLToPath(import.meta.url));
const { prototype } = own.constructor;
await own.close();
const { write } = prototype;
prototype.write = async function (...given) {
  const written = await write.apply(this, given);
  await signalled;
  return written;
};

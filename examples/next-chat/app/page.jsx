"use client";

import { useState } from "react";

export default function Chat() {
  const [answer, setAnswer] = useState("");
  const [busy, setBusy] = useState(false);

  async function ask(form) {
    setAnswer("");
    setBusy(true);
    const { body } = await fetch("/chat", { method: "POST", body: form });
    for await (const piece of body.pipeThrough(new TextDecoderStream())) setAnswer((text) => text + piece);
    setBusy(false);
  }

  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        ask(new FormData(event.currentTarget));
      }}
    >
      <input type="file" name="image" accept="image/png,image/jpeg" aria-label="Picture" required />
      <input name="question" aria-label="Question" required />
      <button type="submit" disabled={busy}>
        Ask
      </button>
      <output>{answer}</output>
    </form>
  );
}

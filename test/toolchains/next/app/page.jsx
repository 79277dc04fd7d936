"use client";

import { useEffect } from "react";
import { show } from "../answers.js";

export default function Page() {
  useEffect(() => {
    show();
  }, []);
  return <p>The browser answers.</p>;
}

import { show } from "/answers.js";

show();

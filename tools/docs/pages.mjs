// A page of the site is called as its heading says, not as its file, and grouped by its folder: so the files need no header of another tool's, which GitHub
// would show.
import { relative } from "node:path";

const GROUPS = { docs: "Guides", weights: "Guides", examples: "Examples" };

export function load(app) {
  app.converter.on("createDocument", (_, page) => {
    const path = relative(process.cwd(), page.project.files.getReflectionPath(page));
    const [, heading] = /^# (.+)\n/.exec(page.content[0].text) ?? [];
    if (!heading) throw new Error(`${path} begins without a heading`);
    page.name = heading;
    page.frontmatter.group = GROUPS[path.split("/")[0]] ?? "The project";
  });
}

const DATE = "\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))"; // 29 February: no year is looked at
const TIME = "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?(?:Z|[+-](?:0\\d|1[0-4]):[0-5]\\d)";
const OCTET = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const LABEL = "[A-Za-z0-9]{1,15}(?:-[A-Za-z0-9]{1,15}){0,2}"; // no two hyphens in a row: xn--… has rules of its own

/** JSON Schema's formats that can be enforced, as what a whole text must match: each a part of what the format allows, never more. */
export const FORMATS: Readonly<Record<string, string>> = {
  date: DATE,
  time: TIME,
  "date-time": `${DATE}T${TIME}`,
  uuid: "[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
  ipv4: `${OCTET}\\.${OCTET}\\.${OCTET}\\.${OCTET}`,
  hostname: `${LABEL}(?:\\.${LABEL}){0,6}`,
  email: `[A-Za-z0-9_+-]{1,40}(?:\\.[A-Za-z0-9_+-]{1,40}){0,2}@${LABEL}(?:\\.${LABEL}){0,4}\\.[A-Za-z]{2,20}`,
  uri: `https?://${LABEL}(?:\\.${LABEL}){0,4}(?::[1-9]\\d{0,3})?(?:/[A-Za-z0-9._~-]{0,60}){0,10}`,
};

// Generated tables of a page, between marks; the text around them is written by hand.

const row = (...cells: readonly string[]): string => `| ${cells.join(" | ")} |`;

/** A Markdown table. */
export const table = (header: readonly string[], rows: readonly (readonly string[])[]): string =>
  [row(...header), row(...header.map(() => "---")), ...rows.map((cells) => row(...cells))].join("\n");

/** The page with the text between its marks replaced; throws when it has no such marks. */
export function withMade(page: string, made: Readonly<Record<string, string>>): string {
  return Object.entries(made).reduce((before, [name, text]) => {
    const marks = new RegExp(`(<!-- ${name}: made by npm run docs -->\n)[^]*?(<!-- end of ${name} -->)`);
    if (!marks.test(before))
      throw new Error(`the page has no "<!-- ${name}: made by npm run docs -->" … "<!-- end of ${name} -->"`);
    return before.replace(marks, (_, start: string, end: string) => `${start}\n${text}\n\n${end}`);
  }, page);
}

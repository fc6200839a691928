// How is a picture written? SVG as text, for pages that are light or dark.

/** Escapes text for XML. */
export const xml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

/** Rounds to what can be seen. */
const short = (value: number): number => Math.round(value * 100) / 100;

/** An element; attributes that are undefined are left out. */
export function element(
  name: string,
  attributes: Readonly<Record<string, string | number | undefined>>,
  ...content: readonly string[]
): string {
  const written = Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined ? [] : [` ${key}="${typeof value === "number" ? short(value) : xml(value)}"`],
  );
  return content.length === 0
    ? `<${name}${written.join("")}/>`
    : `<${name}${written.join("")}>${content.join("")}</${name}>`;
}

/** A whole picture with its title, which is what a screen reader says. */
export function picture(
  width: number,
  height: number,
  title: string,
  style: string,
  ...content: readonly string[]
): string {
  const open = `<svg xmlns="http://www.w3.org/2000/svg" width="${short(width)}" height="${short(height)}" viewBox="0 0 ${short(width)} ${short(height)}" role="img">`;
  return [open, element("title", {}, xml(title)), `<style>${style}</style>`, ...content, "</svg>", ""].join("\n");
}

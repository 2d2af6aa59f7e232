/** Text for terminals of 80 columns. */

const width = 80;
const margin = 14;

/**
 * A title in the margin and paragraphs beside it, wrapped, each from its second line on indented a little more. '' without
 * paragraphs.
 */
export function section(title: string, paragraphs: readonly string[]): string {
  return paragraphs
    .flatMap((paragraph) => wrap(paragraph, width - margin))
    .map((line, index) => `${`  ${index === 0 ? title : ''}`.padEnd(margin)}${line}\n`)
    .join('');
}

/** Breaks a text between words into lines; those after the first begin with two blanks. A longer word stays whole. */
export function wrap(text: string, columns = width): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line.trim() !== '' && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = `  ${word}`;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

/** The first three, and how many more there are. */
export function some(values: readonly string[]): string {
  const shown = values.slice(0, 3).join(', ');
  return values.length > 3 ? `${shown} and ${values.length - 3} more` : shown;
}

/** Text of a stranger's: printable ASCII as it is, every other character as `\x1b`, so that no terminal acts on it. */
export function harmless(text: string): string {
  return text.replace(/[^ -~]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** Text for terminals of 80 columns. */

const width = 80;
const margin = 14;

/**
 * A title in the margin with wrapped paragraphs beside it, each with a hanging indent. '' without paragraphs.
 */
export function section(title: string, paragraphs: readonly string[]): string {
  return paragraphs
    .flatMap((paragraph) => wrap(paragraph, width - margin))
    .map((line, index) => `${`  ${index === 0 ? title : ''}`.padEnd(margin)}${line}\n`)
    .join('');
}

/**
 * Wraps a text between words; lines after the first are indented by two spaces. Long words are not broken.
 */
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

/** `1 day`, `2 days`. */
export function counted(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

/** The first three values, and the number of the rest. */
export function some(values: readonly string[]): string {
  const shown = values.slice(0, 3).join(', ');
  return values.length > 3 ? `${shown} and ${values.length - 3} more` : shown;
}

/**
 * Makes untrusted text safe for terminals: keeps printable ASCII, and writes every other character in the
 * form `\x1b`.
 */
export function harmless(text: string): string {
  return text.replace(/[^ -~]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

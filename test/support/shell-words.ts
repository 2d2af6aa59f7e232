/** As much of a shell's grammar as the commands in the pages have. */

// A word, with its quotes; a comment; an operator between commands; a line's end.
const token =
  /((?:'[^']*'|"(?:\\.|[^"\\])*"|\\[^\n]|[^\s'"\\|&;<>()#]|(?<=\S)#)+)|(#[^\n]*)|(\|\|?|&&?|;|[<>]+|[()])|(\n)/g;

/** The simple commands of a script, each as its words, without quotes, redirections and comments. */
export function simpleCommands(script: string): string[][] {
  const commands: string[][] = [[]];
  let redirected = false;
  for (const [, word, , operator, newline] of script.replaceAll('\\\n', ' ').matchAll(token)) {
    if (word !== undefined) {
      if (!redirected) commands.at(-1)?.push(unquoted(word));
      redirected = false;
    } else if (operator !== undefined && /[<>]/.test(operator)) redirected = true;
    else if (operator !== undefined || newline !== undefined) commands.push([]);
  }
  return commands.filter((words) => words.length > 0);
}

function unquoted(word: string): string {
  return word.replace(
    /'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)/g,
    (_, single, double, escaped) => single ?? double ?? escaped,
  );
}

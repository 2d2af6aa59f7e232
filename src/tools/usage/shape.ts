/** The command line as plain values, read from the very definitions that parse it and print `--help`. */
import type { Argument, Command, Option } from 'commander';

export type CommandShape = {
  /** From the program's name on: `penstock pki init`. */
  readonly path: readonly string[];
  readonly description: string;
  readonly arguments: readonly ArgumentShape[];
  readonly options: readonly OptionShape[];
  readonly commands: readonly CommandShape[];
};

export type ArgumentShape = {
  /** As in `--help`: `<file...>`, `[level]`. */
  readonly term: string;
  readonly description: string;
  readonly value: ValueShape;
};

export type OptionShape = {
  /** As in `--help`: `-c, --config <file>`. */
  readonly term: string;
  /** `-c`, `--config`. */
  readonly names: readonly string[];
  readonly description: string;
  /** undefined: it takes none. */
  readonly value: ValueShape | undefined;
};

/** What can stand there: a file, one of a few words, or anything. */
export type ValueShape =
  | { readonly kind: 'file' }
  | { readonly kind: 'words'; readonly words: readonly string[] }
  | { readonly kind: 'any' };

export function shapeOf(command: Command, above: readonly string[] = []): CommandShape {
  const path = [...above, command.name()];
  const help = command.createHelp();
  return {
    path,
    description: command.description(),
    arguments: command.registeredArguments.map((argument) => ({
      term: argument.required ? `<${nameOf(argument)}>` : `[${nameOf(argument)}]`,
      description: argument.description,
      value: valueShape(argument.argChoices, `${argument.name()} ${argument.description}`),
    })),
    options: help
      .visibleOptions(command)
      .map((option) => shapeOption(option, help.optionDescription(option))),
    commands: command.commands.map((inner) => shapeOf(inner, path)),
  };
}

/** The command itself, and all below it. */
export function allCommands(shape: CommandShape): CommandShape[] {
  return [shape, ...shape.commands.flatMap(allCommands)];
}

function nameOf(argument: Argument): string {
  return argument.variadic ? `${argument.name()}...` : argument.name();
}

function shapeOption(option: Option, description: string): OptionShape {
  const { flags, short, long, required, optional, argChoices } = option;
  return {
    term: flags,
    names: [short, long].filter((name) => name !== undefined),
    description,
    value: required || optional ? valueShape(argChoices, /[<[](.*)[>\]]/.exec(flags)?.[1] ?? '') : undefined,
  };
}

/** By the names that options give their values. */
function valueShape(choices: readonly string[] | undefined, words: string): ValueShape {
  if (choices) return { kind: 'words', words: choices };
  return /\b(?:file|files|dir|path|directory)\b/i.test(words) ? { kind: 'file' } : { kind: 'any' };
}

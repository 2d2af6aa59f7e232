/** Completion scripts for shells, from the shape of the command line. */
import type { Shell } from './flags.ts';
import { allCommands, type CommandShape, type OptionShape, type ValueShape } from './shape.ts';

/** A script that completes commands, options, and values as far as they are files or one of a few words. */
export function completionFor(shell: Shell, program: CommandShape): string {
  return { bash, zsh, fish }[shell](program);
}

/** Commands by the words that lead to them, without the program's name. */
function paths(program: CommandShape): { readonly path: string; readonly shape: CommandShape }[] {
  return allCommands(program).map((shape) => ({ path: shape.path.slice(1).join(' '), shape }));
}

/** All commands, quoted. */
function knownCommands(program: CommandShape): string[] {
  return paths(program)
    .filter(({ path }) => path !== '')
    .map(({ path }) => `'${path}'`);
}

/** Both shells first follow the words that are commands, then look at the one before the cursor. */
function caseOfCommands(program: CommandShape): string {
  return `case "\${at:+$at }$word" in
      ${knownCommands(program).join('|')}) at="\${at:+$at }$word" ;;
    esac`;
}

function casesOfValues(program: CommandShape, complete: (value: ValueShape) => string): string {
  return paths(program)
    .flatMap(({ path, shape }) =>
      shape.options.flatMap(({ names, value }) =>
        value
          ? [`    ${names.map((name) => `'${path}:${name}'`).join('|')}) ${complete(value)}; return ;;`]
          : [],
      ),
    )
    .join('\n');
}

function takesFiles({ arguments: list }: CommandShape): boolean {
  return list.some(({ value }) => value.kind === 'file');
}

function argumentWords({ arguments: list }: CommandShape): string[] {
  return list.flatMap(({ value }) => (value.kind === 'words' ? value.words : []));
}

function bash(program: CommandShape): string {
  const complete = (value: ValueShape): string => {
    if (value.kind === 'file') return 'COMPREPLY=($(compgen -f -- "$cur"))';
    return `COMPREPLY=($(compgen -W '${value.kind === 'words' ? value.words.join(' ') : ''}' -- "$cur"))`;
  };
  const words = paths(program).map(({ path, shape }) => {
    const options = shape.options.flatMap(({ names }) => names);
    const commands = [...shape.commands.map((inner) => inner.path.at(-1) ?? ''), ...argumentWords(shape)];
    return `    '${path}') options='${options.join(' ')}' words='${commands.join(' ')}' files=${takesFiles(shape) ? 1 : 0} ;;`;
  });
  return `# bash completion for penstock: source <(penstock completion bash)
_penstock() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} at='' options='' words='' files=0 word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    ${caseOfCommands(program)}
  done
  case "$at:$prev" in
${casesOfValues(program, complete)}
  esac
  case "$at" in
${words.join('\n')}
  esac
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
  else
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    [[ $files == 1 ]] && COMPREPLY+=($(compgen -f -- "$cur"))
  fi
}
complete -o filenames -F _penstock penstock
`;
}

function zsh(program: CommandShape): string {
  const complete = (value: ValueShape): string => {
    if (value.kind === 'file') return '_files';
    return value.kind === 'words' ? `compadd -- ${value.words.join(' ')}` : '_message value';
  };
  const described = (name: string, text: string) => `'${name.replaceAll(':', '\\:')}:${quoted(text)}'`;
  const lists = paths(program).map(({ path, shape }) => {
    const options = shape.options.flatMap(({ names, description }) =>
      names.map((name) => described(name, description)),
    );
    const commands = shape.commands.map((inner) => described(inner.path.at(-1) ?? '', inner.description));
    const words = argumentWords(shape).map((word) => described(word, ''));
    return `    '${path}') options=(${options.join(' ')}); words_=(${[...commands, ...words].join(' ')}); files=${takesFiles(shape) ? 1 : 0} ;;`;
  });
  return `#compdef penstock
# zsh completion for penstock: penstock completion zsh > "\${fpath[1]}/_penstock"
_penstock() {
  local at='' prev=\${words[CURRENT - 1]} files=0 word
  local -a options words_
  for word in "\${words[@]:1:$((CURRENT - 2))}"; do
    ${caseOfCommands(program)}
  done
  case "$at:$prev" in
${casesOfValues(program, complete)}
  esac
  case "$at" in
${lists.join('\n')}
  esac
  if [[ $PREFIX == -* ]]; then
    _describe option options
  else
    (( \${#words_} )) && _describe command words_
    (( files )) && _files
  fi
}
# Loaded by compinit, this file is the function's body the first time.
if [[ $funcstack[1] == _penstock ]]; then _penstock "$@"; else compdef _penstock penstock; fi
`;
}

function fish(program: CommandShape): string {
  const lines = paths(program).flatMap(({ path, shape }) => {
    const start = `complete -c penstock -n "__penstock_at '${path}'"`;
    return [
      ...(takesFiles(shape) ? [] : [`${start} -f`]),
      ...shape.commands.map(
        (inner) => `${start} -a '${inner.path.at(-1)}' -d '${quoted(inner.description)}'`,
      ),
      ...argumentWords(shape).map((word) => `${start} -a '${word}'`),
      ...shape.options.map((option) => `${start} ${fishOption(option)} -d '${quoted(option.description)}'`),
    ];
  });
  return `# fish completion for penstock: penstock completion fish > ~/.config/fish/completions/penstock.fish
function __penstock_at
  set -l at ''
  for word in (commandline -opc)[2..-1]
    set -l next (string trim -- "$at $word")
    contains -- $next ${knownCommands(program).join(' ')}; and set at $next
  end
  test "$at" = "$argv"
end
${lines.join('\n')}
`;
}

function fishOption({ names, value }: OptionShape): string {
  const flags = names.map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`));
  const taken =
    value === undefined
      ? []
      : value.kind === 'file'
        ? ['-r -F']
        : value.kind === 'any'
          ? ['-x']
          : [`-x -a '${value.words.join(' ')}'`];
  return [...flags, ...taken].join(' ');
}

/** For a text within single quotes. */
function quoted(text: string): string {
  return text.replaceAll("'", '’');
}

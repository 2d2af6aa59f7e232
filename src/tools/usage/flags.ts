/** `penstock completion` and `penstock man`: the command line describes itself. */
import { Argument, type Command } from 'commander';

const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

/** To be added last. `run` prints what it is given. */
export function addUsageCommands(program: Command, run: (text: Promise<string>) => Promise<void>): void {
  program
    .command('completion')
    .description('print a script that completes commands and options in a shell')
    .addArgument(new Argument('<shell>', 'which one').choices(shells))
    .action((shell: Shell) =>
      run(import('./command.ts').then(({ completion }) => completion(shell, program))),
    );
  program
    .command('man')
    .description('print the manual page penstock(1): penstock man | man -l -')
    .action(() => run(import('./command.ts').then(({ manual }) => manual(program))));
}

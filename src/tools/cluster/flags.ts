/** The flags of `penstock cluster`, as commander has them. */
import { type Command, InvalidArgumentError, type Option } from 'commander';

/** Adds the subcommands; `finish` gets each one's exit code. */
export function addClusterCommand(
  program: Command,
  config: Option,
  finish: (code: Promise<number>) => Promise<void>,
): void {
  const cluster = program.command('cluster').description('machines that serve as one what etcd holds');
  const add = (name: string, description: string) =>
    cluster.command(name).description(description).addOption(config);
  add('apply', 'check a configuration, and write its objects to etcd in one step')
    .argument('<path>', 'a file like a configuration, or a directory of such files')
    .option('--prune', 'delete the objects that it does not have')
    .option('--wait', 'until every machine serves it; exit code 1 if one holds it back')
    .option('--timeout <seconds>', 'with --wait: how long', parseSeconds, 10)
    .action((path, options) => finish(commands().then(({ apply }) => apply(path, options))));
  add('diff', 'show what `apply` would write; exit code 1 if that is anything')
    .argument('<path>', 'a file, or a directory')
    .option('--prune', 'as with `apply`')
    .action((path, options) => finish(commands().then(({ diff }) => diff(path, options))));
  add('get', 'list the objects, or print one of them')
    .argument('[name]', 'such as certificates/orders or routes/databases/orders')
    .action((name, options) => finish(commands().then(({ get }) => get(name, options))));
  add('delete', 'delete objects to which nothing refers')
    .argument('<names...>', 'such as upstreams/orders')
    .option('--wait', 'until every machine serves without them')
    .option('--timeout <seconds>', 'with --wait: how long', parseSeconds, 10)
    .action((names, options) => finish(commands().then(({ remove }) => remove(names, options))));
  add('status', 'show machines, revisions, and what is held back').action((options) =>
    finish(commands().then(({ status }) => status(options))),
  );
  add('accept', 'let in a state from which most objects have vanished')
    .argument('<revision>', 'as `status` names it', parseRevision)
    .action((revision, options) => finish(commands().then(({ accept }) => accept(revision, options))));
  add('rotate-tickets', 'rotate the shared masters of session tickets now')
    .option('--all', 'replace all three: for a master that has leaked; every client makes a full handshake')
    .action((options) => finish(commands().then(({ rotateTickets }) => rotateTickets(options))));
  add('seal', 'seal everything anew with the first secret of cluster.seal')
    .option('--new', 'only print a new secret')
    .option('--wait', 'until every machine serves what is sealed anew')
    .option('--timeout <seconds>', 'with --wait: how long', parseSeconds, 10)
    .action((options) => finish(commands().then(({ seal }) => seal(options))));
  add('roles', 'print the commands that give the users of etcd their rights').action((options) =>
    finish(commands().then(({ roles }) => roles(options))),
  );
}

/** Loaded when one of them is asked for. */
function commands() {
  return import('./command.ts');
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!(text !== '' && seconds >= 0 && seconds <= 86_400))
    throw new InvalidArgumentError('expected seconds.');
  return seconds;
}

function parseRevision(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('expected a number, as `status` names it.');
  return Number(text);
}

/** Where the log can go, by the text of `log.destination`. */

/** The path of `destination: syslog` or `syslog:/path`; undefined for any other destination. */
export function syslogPath(destination: string): string | undefined {
  if (destination === 'syslog') return '/dev/log';
  return destination.startsWith('syslog:') ? destination.slice('syslog:'.length) : undefined;
}

/** Neither a stream of the process nor syslog. */
export function isLogFile(destination: string): boolean {
  return !['stdout', 'stderr'].includes(destination) && syslogPath(destination) === undefined;
}

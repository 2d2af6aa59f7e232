/** A command line that cannot be followed: the message goes to stderr, the exit code is 2. */
export class UsageError extends Error {}

#!/usr/bin/env node
// The entry of the command line. Nothing is imported before the version of Node is known: what comes behind this line
// uses what older ones have not got, and would say so in words that help nobody.
const [major] = process.versions.node.split('.')
if (Number(major) < 24) {
  process.stderr.write(`errand: needs Node 24 or newer, and this is ${process.version} (${process.execPath})\n`)
  process.exitCode = 1
} else {
  const [{ run }, { fileOutput, isFile }] = await Promise.all([import('./app.ts'), import('./file-output.ts')])
  const { env, stdin, stderr } = process
  const exitCode = await run(process.argv.slice(2), {
    env,
    stdin,
    stdout: isFile(1) ? fileOutput(1) : process.stdout,
    stderr,
    cwd: process.cwd(),
    signals: process,
  })
  // Everything printed has been taken; what may still be open (a stdin nobody reads) must not keep us.
  process.exit(exitCode)
}

export {}

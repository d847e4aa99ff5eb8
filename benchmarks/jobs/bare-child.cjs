// A child process with nothing in it: says when it is there, then as many small records as it is told. Plain CommonJS,
// which starts fastest.
'use strict'

process.on('message', (count) => {
  for (let id = 0; id < count; id++) process.send({ id, name: 'item-123', ok: true })
})
process.send('ready')

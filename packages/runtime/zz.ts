import { compilePromptLine, compileCode } from './src/script-code.ts'
import { ScriptError } from './src/errors.ts'
const pieces = ['let x = 1','var y','const {x} = y','x','x + 1',';','\n','{ a: 1 }','{','}','(',')','[x]','function f() {}','function* g() { yield 1 }','async () => {','yield 1','await x','class A {}','class A { static { var z } #p = 1; m() { return this.#p } }','for (var i of x)','for (let i = 0;;)','for await (const q of x)','if (x) ','else ','`t${x}`','return x','do x; while(y)','while(0)','try {} catch (e) {}','switch (x) { case 1: var s }','lab: ','// c\n','/* c */','"use strict"','throw x','var {x: [y = 1]} = z','let [p, ...q] = x','using u = null','await using u = null','yield /r/','x /= 2','var v = function () {','= 5',', w','=> x','...x','?.y','?? z','async function* ag() { yield* x }', 'new A', '() => ({})', 'import("x")', 'x = {', 'var async', 'var let', 'let async', '({x} = y)', 'break', 'debugger']
const AGF = Object.getPrototypeOf(async function* () {}).constructor
const AF = Object.getPrototypeOf(async function () {}).constructor
let ok = 0, inc = 0, err = 0; const seen = new Set<string>()
const once = (k: string, ...a: unknown[]) => { if (!seen.has(k)) { seen.add(k); if (seen.size < 80) console.log(k, ...a) } }
for (let i = 0; i < 400000; i++) {
  let s = ''; const n = 1 + Math.floor(Math.random() * 5); for (let k = 0; k < n; k++) s += pieces[Math.floor(Math.random() * pieces.length)] + (Math.random() < .4 ? ' ' : Math.random() < .3 ? ';' : Math.random() < .3 ? '\n' : '')
  try { const c = compilePromptLine(s, ['x']); c.incomplete ? inc++ : ok++
    if (!c.incomplete) { let v = true; try { AF(s) } catch (e: any) { try { AF('return (' + s + '\n)') } catch { v = false } } if (!v && !/await/.test(s)) once('PROMPT TAKES', JSON.stringify(s)) }
  } catch (e: any) { if (!(e instanceof ScriptError)) { once('NOT SCRIPT ERROR prompt', JSON.stringify(s), e); continue } err++; if (/\(line \d+\)/.test(e.message)) once('V8 refuses (prompt) ' + e.message.split('\n')[0], JSON.stringify(s))
    else { let v = true; try { AF(s) } catch { v = false } if (v && !/return/.test(s) && !/import and export/.test(e.message)) once('PROMPT REFUSES ' + e.message.split('\n')[0]!.replace(/\(.*/, ''), JSON.stringify(s)) } }
  let mine = true, why = ''
  try { compileCode(s, ['x']) } catch (e: any) { mine = false; why = e.message.split('\n')[0]; if (!(e instanceof ScriptError)) once('NOT SCRIPT ERROR code', JSON.stringify(s), e); else if (/\(line \d+\)/.test(e.message)) once('V8 refuses (code) ' + why, JSON.stringify(s)) }
  let theirs = true; try { AGF(s) } catch { theirs = false; try { AGF('return (' + s + '\n)'); theirs = true } catch {} }
  if (mine !== theirs) once('DIFFERS ' + mine + theirs + why.replace(/\(.*/, ''), JSON.stringify(s))
}
console.log({ ok, inc, err })

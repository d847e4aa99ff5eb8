// Which modules does a text ask for? A tokenizer just good enough to tell an `import` from the word in a string, a
// comment, a template or a regular expression. It judges nothing: what is not JavaScript the far parser refuses.

export interface ImportSpecifier {
  readonly specifier: string
  /** `import('…')` with a literal; others cannot be known before they run. */
  readonly dynamic: boolean
}

interface Token {
  readonly kind: 'word' | 'string' | 'value' | 'mark'
  readonly text: string
}

/** The specifiers a module's text names, in order. */
export function importSpecifiers(source: string): ImportSpecifier[] {
  const tokens = tokensOf(source)
  const found: ImportSpecifier[] = []
  tokens.forEach((token, index) => {
    if (token.kind !== 'word' || tokens[index - 1]?.text === '.') return
    if (token.text === 'import') {
      const next = tokens[index + 1]
      if (next?.kind === 'string') found.push({ specifier: next.text, dynamic: false })
      else if (next?.text === '(') {
        const argument = tokens[index + 2]
        const closing = tokens[index + 3]?.text
        if (argument?.kind === 'string' && (closing === ')' || closing === ',')) {
          found.push({ specifier: argument.text, dynamic: true })
        }
      } else if (next?.text !== '.' && next?.text !== ':') addFrom(tokens, index + 1, found)
    } else if (token.text === 'export') {
      const next = tokens[index + 1]?.text
      if (next === '*' || next === '{') addFrom(tokens, index + 1, found)
    }
  })
  return found
}

/** Past a declaration's bindings: `… from 'x'`. A declaration without a `from` (an export of our own) has none. */
function addFrom(tokens: readonly Token[], start: number, found: ImportSpecifier[]): void {
  for (let at = start; at < tokens.length; at++) {
    const { kind, text } = tokens[at]!
    const next = tokens[at + 1]
    if (kind === 'word' && text === 'from' && next?.kind === 'string') {
      found.push({ specifier: next.text, dynamic: false })
      return
    }
    // After the closing brace only `from` belongs to it.
    if (kind === 'mark' && text === '}' && next?.text !== 'from') return
    if (kind === 'value' || (kind === 'mark' && !'{},*'.includes(text))) return
  }
}

/** Words after which a slash begins a regular expression although they look like a value. */
const BEFORE_EXPRESSION = new Set(
  'return typeof instanceof in of new delete void throw case do else yield await default extends'.split(' '),
)
const BEFORE_PARENTHESIS = new Set(['if', 'while', 'for', 'with'])

function tokensOf(source: string): Token[] {
  const tokens: Token[] = []
  // What each open bracket will be when it closes: `true` where an expression may begin after it.
  const open: { mark: '(' | '[' | '{' | '${'; expressionAfter: boolean }[] = []
  let expression = true
  let at = 0
  const push = (kind: Token['kind'], text: string, expressionAfter: boolean): void => {
    tokens.push({ kind, text })
    expression = expressionAfter
  }
  const template = (): void => {
    for (; at < source.length; at++) {
      if (source[at] === '\\') at++
      else if (source[at] === '`') {
        at++
        push('value', '`', false)
        return
      } else if (source[at] === '$' && source[at + 1] === '{') {
        at += 2
        open.push({ mark: '${', expressionAfter: false })
        push('mark', '${', true)
        return
      }
    }
  }
  while (at < source.length) {
    const char = source[at]!
    if (/\s/.test(char)) at++
    else if (source.startsWith('//', at) || (at === 0 && source.startsWith('#!'))) at = lineEnd(source, at)
    else if (source.startsWith('/*', at)) {
      const end = source.indexOf('*/', at + 2)
      at = end < 0 ? source.length : end + 2
    } else if (char === "'" || char === '"') {
      const end = stringEnd(source, at)
      push('string', unescaped(source.slice(at + 1, end)), false)
      at = end + 1
    } else if (char === '`') {
      at++
      template()
    } else if (char === '/' && expression) {
      at = regexEnd(source, at)
      push('value', '/', false)
    } else if (/[\p{ID_Start}$_#]/u.test(char)) {
      const [text] = /^[\p{ID_Continue}$_#\u200c\u200d]+/u.exec(source.slice(at, at + 256)) ?? [char]
      at += text.length
      push('word', text, BEFORE_EXPRESSION.has(text) && tokens.at(-1)?.text !== '.')
    } else if (/\d/.test(char)) {
      const [text] = /^[\w.]+/.exec(source.slice(at, at + 256)) ?? [char]
      at += text.length
      push('value', text, false)
    } else {
      at++
      const before = tokens.at(-1)
      if (char === '(' || char === '[') {
        const head = char === '(' && before?.kind === 'word' && BEFORE_PARENTHESIS.has(before.text)
        open.push({ mark: char, expressionAfter: head })
        push('mark', char, true)
      } else if (char === '{') {
        // A block ends a statement; an object is a value that may be divided.
        open.push({ mark: '{', expressionAfter: !expression || !before || ';{}>'.includes(before.text) })
        push('mark', char, true)
      } else if (char === ')' || char === ']' || char === '}') {
        const closed = open.pop()
        push('mark', char, closed?.expressionAfter ?? false)
        if (char === '}' && closed?.mark === '${') template()
      } else push('mark', char, true)
    }
  }
  return tokens
}

function lineEnd(source: string, from: number): number {
  const end = source.indexOf('\n', from)
  return end < 0 ? source.length : end + 1
}

function stringEnd(source: string, start: number): number {
  for (let at = start + 1; at < source.length; at++) {
    if (source[at] === '\\') at++
    else if (source[at] === source[start] || source[at] === '\n') return at
  }
  return source.length
}

function regexEnd(source: string, start: number): number {
  let inClass = false
  for (let at = start + 1; at < source.length; at++) {
    const char = source[at]
    if (char === '\\') at++
    else if (char === '[') inClass = true
    else if (char === ']') inClass = false
    else if (char === '\n') return at
    else if (char === '/' && !inClass) {
      const [flags] = /^\w*/.exec(source.slice(at + 1, at + 16)) ?? ['']
      return at + 1 + flags.length
    }
  }
  return source.length
}

/** `'\x2e/a'` is './a': a specifier is judged by what it means. */
function unescaped(text: string): string {
  return text.replace(
    /\\(?:u\{([0-9a-f]+)\}|u([0-9a-f]{4})|x([0-9a-f]{2})|([^]))/gi,
    (whole, brace, four, two, one) => {
      const hex = (brace ?? four ?? two) as string | undefined
      return hex === undefined ? ((one as string | undefined) ?? whole) : String.fromCodePoint(Number.parseInt(hex, 16))
    },
  )
}

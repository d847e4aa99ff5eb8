// Which names a function's text takes from its surroundings. Pure: works on acorn's tree.
import type { AnyNode, Class, Function as FunctionNode, Pattern, PrivateIdentifier } from 'acorn'

/** A name that is used but not declared in the function. */
export interface Reference {
  readonly name: string
  /** Offset into the parsed text. */
  readonly at: number
  readonly use: 'read' | 'write' | 'call'
  /** `b` in `a.b`, when the name is `a`. */
  readonly member: string | undefined
  /** `(0, a.b)(…)`: how compilers call an import. */
  readonly indirect: boolean
}
/** Something that belongs to the surroundings and has no name to pass: `this` of an arrow, `super`, `#private`, … */
export interface Outside {
  readonly what: string
  readonly at: number
}
export interface ScopeReport {
  readonly free: readonly Reference[]
  readonly outside: readonly Outside[]
}

/** The nodes directly below a node, in the order of the text. */
export function children(node: AnyNode): AnyNode[] {
  const found: AnyNode[] = []
  for (const value of Object.values(node) as unknown[]) {
    for (const item of Array.isArray(value) ? (value as unknown[]) : [value]) {
      if (typeof item === 'object' && item !== null && typeof (item as AnyNode).type === 'string')
        found.push(item as AnyNode)
    }
  }
  return found
}

/** The node inside parentheses. */
export function unwrap(node: AnyNode): AnyNode {
  return node.type === 'ParenthesizedExpression' ? unwrap(node.expression) : node
}

export function patternNames(pattern: Pattern, into: Set<string>): Set<string> {
  switch (pattern.type) {
    case 'Identifier':
      return into.add(pattern.name)
    case 'ObjectPattern':
      for (const property of pattern.properties) {
        patternNames(property.type === 'RestElement' ? property.argument : property.value, into)
      }
      return into
    case 'ArrayPattern':
      for (const element of pattern.elements) if (element) patternNames(element, into)
      return into
    case 'AssignmentPattern':
      return patternNames(pattern.left, into)
    case 'RestElement':
      return patternNames(pattern.argument, into)
    default:
      return into
  }
}

/** The `var` declarations of a function or script below `node`, nested blocks included, nested functions not. */
export function varDeclarations(node: AnyNode | null | undefined, found: AnyNode[] = []): AnyNode[] {
  switch (node?.type) {
    case 'VariableDeclaration':
      if (node.kind === 'var') found.push(node)
      break
    case 'FunctionDeclaration': // in a block: also a var of the function in sloppy code (annex B.3.3)
      found.push(node)
      break
    case 'Program':
    case 'BlockStatement':
    case 'StaticBlock':
      for (const statement of node.body) varDeclarations(statement, found)
      break
    case 'IfStatement':
      varDeclarations(node.consequent, found)
      varDeclarations(node.alternate, found)
      break
    case 'ForStatement':
      varDeclarations(node.init, found)
      varDeclarations(node.body, found)
      break
    case 'ForInStatement':
    case 'ForOfStatement':
      varDeclarations(node.left, found)
      varDeclarations(node.body, found)
      break
    case 'WhileStatement':
    case 'DoWhileStatement':
    case 'LabeledStatement':
    case 'WithStatement':
      varDeclarations(node.body, found)
      break
    case 'SwitchStatement':
      for (const one of node.cases) for (const statement of one.consequent) varDeclarations(statement, found)
      break
    case 'TryStatement':
      varDeclarations(node.block, found)
      varDeclarations(node.handler?.body, found)
      varDeclarations(node.finalizer, found)
      break
  }
  return found
}

function varNames(body: AnyNode): Set<string> {
  const names = new Set<string>()
  for (const node of varDeclarations(body)) {
    if (node.type === 'FunctionDeclaration' && node.id) names.add(node.id.name)
    if (node.type === 'VariableDeclaration') for (const { id } of node.declarations) patternNames(id, names)
  }
  return names
}

/** What the statements of one block declare for that block. */
function blockNames(statements: readonly AnyNode[], names: Set<string> = new Set()): Set<string> {
  for (let statement of statements) {
    while (statement.type === 'LabeledStatement') statement = statement.body
    if (statement.type === 'VariableDeclaration' && statement.kind !== 'var') {
      for (const { id } of statement.declarations) patternNames(id, names)
    } else if ((statement.type === 'FunctionDeclaration' || statement.type === 'ClassDeclaration') && statement.id) {
      names.add(statement.id.name)
    }
  }
  return names
}

class Scope {
  readonly names: ReadonlySet<string>
  readonly parent: Scope | undefined
  /** The body of `with`: any name may be a property of its object. */
  readonly opaque: boolean
  constructor(names: ReadonlySet<string>, parent: Scope | undefined, opaque = false) {
    this.names = names
    this.parent = parent
    this.opaque = opaque
  }
  declares(name: string): boolean {
    return this.opaque || this.names.has(name) || (this.parent?.declares(name) ?? false)
  }
}

/** What the nearest functions and classes around a node provide besides names. */
interface Around {
  /** `this` and `new.target` are those of a function inside the text. */
  readonly self: boolean
  /** `super` is that of an object or a class inside the text. */
  readonly home: boolean
  readonly privates: ReadonlySet<string>
}

/** What `root`, a function parsed alone, takes from outside of itself. References come in the order of the text. */
export function scopeReport(root: AnyNode): ScopeReport {
  const walk = new Walk()
  walk.visit(root, new Scope(new Set(), undefined), { self: false, home: false, privates: new Set() })
  const byPlace = (a: { at: number }, b: { at: number }): number => a.at - b.at
  return { free: walk.free.sort(byPlace), outside: walk.outside.sort(byPlace) }
}

class Walk {
  readonly free: Reference[] = []
  readonly outside: Outside[] = []

  #reference(node: AnyNode, scope: Scope, use: Reference['use'], member?: string, indirect = false): void {
    if (node.type !== 'Identifier' || scope.declares(node.name)) return
    if (node.name === 'arguments') this.outside.push({ what: 'arguments', at: node.start })
    else this.free.push({ name: node.name, at: node.start, use, member, indirect })
  }

  #private(node: PrivateIdentifier, around: Around): void {
    if (!around.privates.has(node.name)) this.outside.push({ what: `#${node.name}`, at: node.start })
  }

  #all(nodes: readonly (AnyNode | null | undefined)[], scope: Scope, around: Around): void {
    for (const node of nodes) if (node) this.visit(node, scope, around)
  }

  visit(node: AnyNode, scope: Scope, around: Around): void {
    switch (node.type) {
      case 'Identifier':
        return this.#reference(node, scope, 'read')
      case 'ThisExpression':
        if (!around.self) this.outside.push({ what: 'this', at: node.start })
        return
      case 'Super':
        if (!around.home) this.outside.push({ what: 'super', at: node.start })
        return
      case 'MetaProperty':
        if (node.meta.name === 'import') this.outside.push({ what: 'import.meta', at: node.start })
        else if (!around.self) this.outside.push({ what: 'new.target', at: node.start })
        return
      case 'PrivateIdentifier':
        return this.#private(node, around)
      case 'MemberExpression':
        return this.#member(node, scope, around, false)
      case 'CallExpression':
      case 'NewExpression': {
        const callee = unwrap(node.callee)
        const last = callee.type === 'SequenceExpression' ? callee.expressions.at(-1) : undefined
        if (callee.type === 'Identifier') this.#reference(callee, scope, 'call')
        else if (callee.type === 'SequenceExpression' && last?.type === 'MemberExpression') {
          this.#all(callee.expressions.slice(0, -1), scope, around)
          this.#member(last, scope, around, true)
        } else this.visit(callee, scope, around)
        return this.#all(node.arguments, scope, around)
      }
      case 'UnaryExpression':
        // `typeof x` of an undeclared x is 'undefined', there as here.
        if (node.operator === 'typeof' && unwrap(node.argument).type === 'Identifier') return
        return this.visit(node.argument, scope, around)
      case 'Property':
        if (node.computed) this.visit(node.key, scope, around)
        if (node.value.type === 'FunctionExpression' && (node.method || node.kind !== 'init')) {
          return this.#function(node.value, scope, around, true)
        }
        return this.visit(node.value, scope, around)
      case 'FunctionExpression':
      case 'FunctionDeclaration':
      case 'ArrowFunctionExpression':
        return this.#function(node, scope, around, false)
      case 'ClassExpression':
      case 'ClassDeclaration':
        return this.#class(node, scope, around)
      case 'AssignmentExpression':
        this.#pattern(node.left, scope, around, true)
        return this.visit(node.right, scope, around)
      case 'UpdateExpression':
        return this.#pattern(node.argument as Pattern, scope, around, true)
      case 'VariableDeclarator':
        this.#pattern(node.id, scope, around, false)
        return this.#all([node.init], scope, around)
      case 'BlockStatement':
        return this.#all(node.body, new Scope(blockNames(node.body), scope), around)
      case 'ForStatement': {
        const inner = new Scope(blockNames(node.init ? [node.init] : []), scope)
        return this.#all([node.init, node.test, node.update, node.body], inner, around)
      }
      case 'ForInStatement':
      case 'ForOfStatement': {
        const inner = new Scope(blockNames([node.left]), scope)
        if (node.left.type === 'VariableDeclaration') this.visit(node.left, inner, around)
        else this.#pattern(node.left, inner, around, true)
        return this.#all([node.right, node.body], inner, around)
      }
      case 'SwitchStatement': {
        this.visit(node.discriminant, scope, around)
        const inner = new Scope(blockNames(node.cases.flatMap((one) => one.consequent)), scope)
        return this.#all(node.cases, inner, around)
      }
      case 'CatchClause': {
        const inner = new Scope(node.param ? patternNames(node.param, new Set()) : new Set(), scope)
        if (node.param) this.#pattern(node.param, inner, around, false)
        return this.visit(node.body, inner, around)
      }
      case 'WithStatement':
        this.visit(node.object, scope, around)
        return this.visit(node.body, new Scope(new Set(), scope, true), around)
      case 'LabeledStatement':
        return this.visit(node.body, scope, around)
      case 'BreakStatement':
      case 'ContinueStatement':
        return
      default:
        return this.#all(children(node), scope, around)
    }
  }

  #member(node: AnyNode & { type: 'MemberExpression' }, scope: Scope, around: Around, indirect: boolean): void {
    const { object, property } = node
    if (object.type === 'Identifier') {
      const member = !node.computed && property.type === 'Identifier' ? property.name : undefined
      this.#reference(object, scope, 'read', member, indirect)
    } else this.visit(object, scope, around)
    if (node.computed || property.type === 'PrivateIdentifier') this.visit(property, scope, around)
  }

  /** A pattern's defaults and computed keys are expressions; its names are declared, or (`assigns`) written to. */
  #pattern(pattern: AnyNode, scope: Scope, around: Around, assigns: boolean): void {
    switch (pattern.type) {
      case 'Identifier':
        if (assigns) this.#reference(pattern, scope, 'write')
        return
      case 'ParenthesizedExpression':
        return this.#pattern(pattern.expression, scope, around, assigns)
      case 'ObjectPattern':
        for (const property of pattern.properties) {
          if (property.type === 'Property' && property.computed) this.visit(property.key, scope, around)
          this.#pattern(property.type === 'Property' ? property.value : property, scope, around, assigns)
        }
        return
      case 'ArrayPattern':
        for (const element of pattern.elements) if (element) this.#pattern(element, scope, around, assigns)
        return
      case 'AssignmentPattern':
        this.#pattern(pattern.left, scope, around, assigns)
        return this.visit(pattern.right, scope, around)
      case 'RestElement':
        return this.#pattern(pattern.argument, scope, around, assigns)
      default:
        return this.visit(pattern, scope, around)
    }
  }

  #function(node: FunctionNode, outer: Scope, around: Around, method: boolean): void {
    const arrow = node.type === 'ArrowFunctionExpression'
    const named = node.type === 'FunctionExpression' && node.id ? new Scope(new Set([node.id.name]), outer) : outer
    const names = new Set<string>(arrow ? [] : ['arguments'])
    for (const param of node.params) patternNames(param, names)
    const inner = arrow ? around : { ...around, self: true, home: method }
    // Defaults see the parameters but not the variables of the body: two scopes.
    const params = new Scope(names, named)
    for (const param of node.params) this.#pattern(param, params, inner, false)
    if (node.body.type !== 'BlockStatement') return this.visit(node.body, params, inner)
    this.#all(node.body.body, new Scope(blockNames(node.body.body, varNames(node.body)), params), inner)
  }

  #class(node: Class, outer: Scope, around: Around): void {
    const scope = new Scope(new Set(node.id ? [node.id.name] : []), outer)
    if (node.superClass) this.visit(node.superClass, scope, around)
    const privates = new Set(around.privates)
    for (const member of node.body.body) {
      if (member.type !== 'StaticBlock' && member.key.type === 'PrivateIdentifier') privates.add(member.key.name)
    }
    const inside = { self: true, home: true, privates }
    for (const member of node.body.body) {
      if (member.type === 'StaticBlock') {
        this.#all(member.body, new Scope(blockNames(member.body, varNames(member)), scope), inside)
        continue
      }
      // A computed key is evaluated with the `this` of the surroundings.
      if (member.computed) this.visit(member.key, scope, { ...around, privates })
      if (member.type === 'MethodDefinition') this.#function(member.value, scope, inside, true)
      else if (member.value) this.visit(member.value, scope, inside)
    }
  }
}

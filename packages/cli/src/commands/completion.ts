// errand completion: the script that a shell sources. What may be typed is asked of errand at each Tab, so it never ages.
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { choice, type Flags } from '../flags.ts'

/**
 * What each script relies on: `errand __complete -- WORD…` prints one line `SHELL<tab>PREFIX`, where SHELL is FILE, FOLDER,
 * PROGRAM or nothing, then a line `VALUE<tab>ABOUT` for each candidate.
 */
const BASH = `# errand: completion for bash 4.4 or newer
_errand() {
  local -a words=() said=()
  local index piece glue= cur value
  # bash has made words of = and : too; what belongs together is put together again.
  for ((index = 1; index <= COMP_CWORD; index++)); do
    piece=\${COMP_WORDS[index]}
    if [[ $piece =~ ^[=:]+$ && \${#words[@]} -gt 0 ]]; then
      words[-1]+=$piece
      glue=1
    elif [[ $glue ]]; then
      words[-1]+=$piece
      glue=
    else
      words+=("$piece")
    fi
  done
  cur=\${words[-1]}
  mapfile -t said < <("\${COMP_WORDS[0]/#\\~/$HOME}" __complete -- "\${words[@]}" 2>/dev/null)
  local shell=\${said[0]%%$'\\t'*} prefix=\${said[0]#*$'\\t'}
  # Only what stands behind the last = or : is replaced.
  local kept=\${cur%"\${cur##*[=:]}"}
  COMPREPLY=()
  for value in "\${said[@]:1}"; do
    value=\${value%%$'\\t'*}
    value=\${value#"$kept"}
    # %q would quote commas, too.
    [[ $value =~ ^[[:alnum:]_@%+=:,./-]*$ ]] || printf -v value %q "$value"
    COMPREPLY+=("$value")
  done
  compopt -o nosort 2>/dev/null
  [[ \${COMPREPLY[0]-} == *= && \${#COMPREPLY[@]} -eq 1 ]] && compopt -o nospace
  cur=\${cur#"$prefix"}
  prefix=\${prefix#"$kept"}
  case $shell in
    FILE) mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen -P "$prefix" -f -- "$cur") ;;
    FOLDER) mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen -P "$prefix" -d -- "$cur") ;;
    PROGRAM) mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen -A command -- "$cur"; compgen -f -- "$cur") ;;
  esac
  [[ $shell ]] && compopt -o filenames
}
complete -F _errand errand
`

const ZSH = `#compdef errand
# errand: completion for zsh
_errand() {
  local -a said values abouts
  local line shell prefix
  said=("\${(@f)$("\${(Q)words[1]/#\\~/$HOME}" __complete -- "\${(@Q)words[2,CURRENT-1]}" "\${(Q)PREFIX}" 2>/dev/null)}")
  shell=\${said[1]%%$'\\t'*}
  prefix=\${said[1]#*$'\\t'}
  for line in "\${(@)said[2,-1]}"; do
    [[ -n $line ]] || continue
    values+=("\${line%%$'\\t'*}")
    abouts+=("\${line%%$'\\t'*}\${\${line#*$'\\t'}:+  \${line#*$'\\t'}}")
  done
  # In any case of letters, in the order in which they were given.
  (( $#values )) && compadd -M 'm:{[:lower:][:upper:]}={[:upper:][:lower:]}' -V errand -l -d abouts -a values
  case $shell in
    FILE) [[ -n $prefix ]] && compset -P "\${(b)prefix}"; _files ;;
    FOLDER) [[ -n $prefix ]] && compset -P "\${(b)prefix}"; _files -/ ;;
    PROGRAM) _alternative 'commands:command:_command_names -e' 'files:file:_files' ;;
  esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _errand "$@"
else
  (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
  compdef _errand errand
fi
`

const FISH = `# errand: completion for fish
function __errand_complete
    set -l line (commandline -opc)
    set -l token (commandline -ct)
    set -l said ($line[1] __complete -- $line[2..] "$token" 2>/dev/null)
    set -l first (string split \\t -- "$said[1]")
    set -l prefix "$first[2]"
    set -l rest (string sub -s (math (string length -- "$prefix") + 1) -- "$token")
    for one in $said[2..]
        echo $one
    end
    switch "$first[1]"
        case FILE
            for one in (__fish_complete_path "$rest")
                echo "$prefix$one"
            end
        case FOLDER
            for one in (__fish_complete_directories "$rest")
                echo "$prefix$one"
            end
        case PROGRAM
            complete -C "$token"
    end
end
complete -c errand -e
complete -c errand -f -k -a '(__errand_complete)'
`

const SCRIPTS = { bash: BASH, zsh: ZSH, fish: FISH } as const
const SHELLS = Object.keys(SCRIPTS) as (keyof typeof SCRIPTS)[]

export default async function completion(context: Context, _: Flags, [shell]: readonly string[]): Promise<number> {
  await context.terminal.out(SCRIPTS[choice(shell!, SHELLS)])
  return EXIT.done
}

# Completion of onggi for bash: source <(onggi completion bash)

__onggi_complete() {
    local -a words=()
    local piece candidate directive current kept
    # Bash divides words at "=" and ":", which belong to ours.
    for piece in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
        if [[ ${#words[@]} -gt 0 && ( $piece == [=:] || ${words[-1]} == *[=:] ) ]]; then
            words[-1]+=$piece
        else
            words+=("$piece")
        fi
    done
    current=${words[-1]-}
    # What stands before the last of these is not replaced.
    kept=${current%"${current##*[=:]}"}
    local -a found=()
    mapfile -t found < <("${COMP_WORDS[0]}" __complete -- "${words[@]}" 2>/dev/null)
    [[ ${#found[@]} -gt 0 ]] || return
    directive=${found[-1]#:}
    [[ $directive =~ ^[0-9]{1,3}$ ]] || return
    unset 'found[-1]'
    COMPREPLY=()
    for candidate in "${found[@]}"; do
        candidate=${candidate%%$'\t'*}
        candidate=${candidate#"$kept"}
        # It is put on the command line as it is here.
        if [[ $candidate == *[!A-Za-z0-9_./,:=@%+-]* ]]; then
            printf -v candidate %q "$candidate"
        fi
        COMPREPLY+=("$candidate")
    done
    if (( directive & 2 )); then
        compopt -o nospace 2>/dev/null
    fi
    if (( ! (directive & 4) && ${#COMPREPLY[@]} == 0 )); then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "${current#"$kept"}")
    fi
}

complete -F __onggi_complete onggi

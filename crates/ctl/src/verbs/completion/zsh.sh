#compdef onggi
# Completion of onggi for zsh: source <(onggi completion zsh)

__onggi_complete() {
    local -a found described options
    local line value about directive
    found=("${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    (( ${#found} )) || return 1
    directive=${found[-1]#:}
    [[ $directive == <-> ]] || return 1
    found[-1]=()
    for line in "${found[@]}"; do
        [[ -n $line ]] || continue
        value=${line%%$'\t'*}
        about=
        [[ $line == *$'\t'* ]] && about=${line#*$'\t'}
        described+=("${value//:/\\:}${about:+:$about}")
    done
    (( directive & 2 )) && options=(-S '')
    if (( ${#described} )); then
        _describe -V onggi described "${options[@]}"
    elif (( ! (directive & 4) )); then
        _files
    fi
}

# Read as a file of $fpath, it is the function itself.
if [[ ${funcstack[1]-} == _onggi ]]; then
    __onggi_complete "$@"
elif (( $+functions[compdef] )); then
    compdef __onggi_complete onggi
fi

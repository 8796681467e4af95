# Completion of onggi for PowerShell: onggi completion powershell | Out-String | Invoke-Expression

Register-ArgumentCompleter -Native -CommandName 'onggi' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements | Where-Object {
        $_.Extent.StartOffset -lt $cursorPosition
    } | ForEach-Object { $_.Extent.Text })
    $program = $words[0]
    $given = @($words | Select-Object -Skip 1)
    # Behind a space a new word begins; an empty argument needs its quotes.
    if ($wordToComplete -eq '') {
        if ($PSVersionTable.PSVersion -lt [version]'7.3') { $given += '""' } else { $given += '' }
    }
    $found = @(& $program __complete '--' @given 2>$null)
    if ($found.Count -lt 2) { return }
    foreach ($line in $found[0..($found.Count - 2)]) {
        $value, $about = $line -split "`t", 2
        if (-not $value) { continue }
        if (-not $about) { $about = $value }
        # It is put on the command line as it is here.
        $text = $value -replace '[\s#@$;,''{}()"`|<>&]', '`$&'
        [System.Management.Automation.CompletionResult]::new($text, $value, 'ParameterValue', $about)
    }
}

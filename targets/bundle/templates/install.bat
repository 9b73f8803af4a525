@echo off
rem Installs what the screening program needs into the folder "installed" beside this file, without a network,
rem and tests it. It needs a Python and nothing else. In PowerShell: .\install.bat
setlocal
{% if facts.rehearsal %}
echo {{ rehearsal }}
{% endif %}
set CODE=1
set DOUBLECLICKED=
echo %cmdcmdline% | find /i "%~0" >nul 2>nul
if "%errorlevel%"=="0" set DOUBLECLICKED=yes
set HERE=%~dp0
if "%HERE:~0,2%"=="\\" goto unc
cd /d "%HERE%"
if not "%errorlevel%"=="0" goto nofolder
if not exist screen.pyz goto nofolder
if not exist "%SystemRoot%\System32\msvcp140.dll" goto nocpp

set PYTHON=
{% for version in runner.python %}
py -{{ version }} -c "import sys" >nul 2>nul
if "%errorlevel%"=="0" set PYTHON=py -{{ version }}
{% endfor %}
if defined PYTHON goto found
{% for version in runner.python %}
python -c "import sys; sys.exit(sys.version_info[:2] != ({{ version.replace(".", ", ") }}))" >nul 2>nul
if "%errorlevel%"=="0" set PYTHON=python
{% endfor %}
if not defined PYTHON goto nopython

:found
%PYTHON% screen.pyz --install
if not "%errorlevel%"=="0" goto notinstalled
%PYTHON% screen.pyz --about
if not "%errorlevel%"=="0" goto changed
%PYTHON% screen.pyz --selftest
if not "%errorlevel%"=="0" goto selftest
echo.
echo Installed. To screen radiographs, in this folder:
echo     %PYTHON% screen.pyz RADIOGRAPHS --csv results.csv --excel
set CODE=0
goto end

:unc
echo NOT INSTALLED: this folder is on another computer.
echo Copy it to this computer's own disk, then run this again.
goto end
:nofolder
echo NOT INSTALLED: the folder of this file cannot be opened, or screen.pyz is not in it.
echo Unpack the whole zip to this computer's own disk, then run this again.
goto end
:nocpp
echo NOT INSTALLED: Windows lacks the Microsoft Visual C++ runtime (msvcp140.dll).
echo Install vc_redist.x64.exe, which Microsoft gives away, then run this again.
goto end
:nopython
echo NOT INSTALLED: it needs Python {{ runner.python | join(" or ") }}, which is not here.
echo It comes from python.org: the installer for Windows, 64 bit.
goto end
:notinstalled
echo NOT INSTALLED: see the line above. Nothing was changed outside this folder.
goto end
:changed
echo NOT INSTALLED: a file of this bundle is missing or was changed. Copy the whole bundle again.
goto end
:selftest
echo NOT INSTALLED: the self-test failed. Do not use it here; see START-HERE.txt.
echo A crash here mostly means that the processor is too old.
goto end

:end
if defined DOUBLECLICKED pause
exit /b %CODE%
